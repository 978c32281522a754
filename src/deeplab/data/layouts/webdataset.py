"""Labeled images in the form of WebDataset: in tar files, on a disk or in a cloud.

    imagenet1k-train-0000.tar    images with their labels, as ``7.jpg`` and ``7.cls``
    imagenet1k-validation-00.tar
    classes.txt                  names of the classes, one per line; without it, the labels

The split is told by the name of the file or of its folder. ``classification.shards`` has the form
of the files.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, Literal, NamedTuple

from deeplab.data.classification.shard_index import ShardedImages, ShardIndex, get_or_make_index
from deeplab.data.classification.shards import Shard
from deeplab.data.labeled_images import LabeledImages
from deeplab.data.layouts.base import LabeledLayout
from deeplab.data.layouts.file_names import (
    SHORT_WORDS,
    list_files,
    natural_order,
    read_name,
    words_of,
)
from deeplab.data.layouts.imagenet import CLASSES, parse_classes
from deeplab.data.packed_file import open_storage
from deeplab.data.settings import ClassificationSettings
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.paths import absolute_path, is_url
from deeplab.utils.reading import describe
from deeplab.utils.settings import Text
from deeplab.utils.text import pluralize

TAR = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

MAX_DIGITS = 6
"""Largest number of digits of the index of a class."""

NO_INDEX = re.compile(r"[+-]\d+|[+-]?\d*[.,]\d*(?:[eE][+-]?\d+)?")
"""Numbers that are no index."""

EXTRAS = {"s3": ("s3", "s3fs")}
"""Extra and package of the addresses that need one; ``hf://`` needs none."""


class WebDatasetSettings(ClassificationSettings):
    """Labeled images in tar files; ``data.root`` is a folder or an address such as ``s3://...``."""

    labels: Literal["single_label", "multi_label"] = "single_label"
    """Whether an image has one label or several."""
    label_extension: Text = "cls"
    """End of the names of the members with the labels: class indices or names, as text."""


class WebDatasetLayout(LabeledLayout):
    """Layout of tar files of labeled images."""

    def __init__(self, settings: WebDatasetSettings) -> None:
        self.settings, self.multi_label = settings, settings.labels == "multi_label"
        self.root = settings.root
        self._address = absolute_path(settings.root).rstrip("/")
        self._label_extension = settings.label_extension.lower().lstrip(".")
        self._indices: dict[str, ShardIndex] = {}

    @classmethod
    def check(cls, settings: Any) -> Any:
        """See ``DataLayout``."""
        layout = cls(settings)
        layout.splits()  # an error of the folder is not one of a split
        for key in ("train_split", "val_split"):
            split = getattr(settings, key)
            try:
                layout.check_split(split)
            except UserError as error:
                problem = str(error).removeprefix(f"split {split!r}: ")
                raise UserError(f"data.{key}={split}: {problem}") from None
        return settings

    def check_split(self, split: str) -> None:
        """See ``DataLayout``; the shards are not read."""
        self._shards(split)

    def splits(self) -> list[str]:
        """See ``LabeledLayout``."""
        return sorted(self._files.splits)

    def origin(self, split: str) -> str:
        """See ``DataLayout``."""
        shards = self._shards(split)
        names = " to ".join(dict.fromkeys((shards[0].name, shards[-1].name)))
        return f"{pluralize(len(shards), 'shard')}, {names}"

    def notes(self) -> list[str]:
        """See ``DataLayout``."""
        lines = list[str]()
        if files := self._files.unused:
            lines.append(
                f"Not used: {pluralize(len(files), 'tar file')} whose name and folder tell no "
                f"split, such as {files[0]}"
            )
        if self._files.classes is None:
            words = self._index(self.settings.train_split).words
            kind = f"0 to {len(self.classes) - 1}" if _are_indices(words) else f"{len(words)} names"
            unused = len(self.classes) - len({*_class_numbers(words, self.classes)})
            lines.append(
                f"Classes: {kind}, the labels of the training images"
                + f", of which {unused} do not occur" * bool(unused)
                + f" ({CLASSES} beside the shards would name them)"
            )
        return lines

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]  # reads the shards
        """See ``LabeledLayout``."""
        names = self._files.classes
        if names is None:
            words = self._index(self.settings.train_split).words
            names = tuple(sorted(words))
            if _are_indices(words):
                largest = max(map(_without_zeros, words), key=lambda digits: (len(digits), digits))
                if len(largest) > MAX_DIGITS:
                    raise self._no_class(largest, "too large for the index of a class")
                names = tuple(map(str, range(int(largest) + 1)))
            elif number := next(filter(NO_INDEX.fullmatch, words), None):
                raise self._no_class(number, "neither a name nor the index of a class")
        if len(names) < 2:
            raise UserError(
                f"data.root={self.root}: {len(names)} classes found; at least 2 are needed."
            )
        return names

    def images(self, split: str) -> LabeledImages:
        """See ``LabeledLayout``."""
        index = self._index(split)
        if not len(index):
            raise UserError(f"split {split!r}: its shards have no images. Choose another split.")
        if not self.multi_label and (image := index.find_several_labels()) is not None:
            raise UserError(
                f"{index.file(image)}: it has {len(index.words_of(image))} labels. For images with "
                "several labels set data.labels=multi_label."
            )
        numbers = list[int]()
        for word, number in enumerate(_class_numbers(index.words, self.classes)):
            if number is None:
                raise UserError(
                    f"{index.file(index.find_word(word))}: the label {index.words[word]} is none "
                    f"of the {len(self.classes)} classes. Correct it, or name the classes in "
                    f"{CLASSES}."
                )
            numbers.append(number)
        return ShardedImages(index, numbers)

    def _no_class(self, label: str, problem: str) -> UserError:
        return UserError(
            f"data.root={self.root}: the label {label[:100]} of a training image is {problem}. "
            f"Correct it, or name the classes in {CLASSES}, one per line."
        )

    def _index(self, split: str) -> ShardIndex:
        if split not in self._indices:
            self._indices[split] = get_or_make_index(
                self._shards(split), self._label_extension, (self._address, split)
            )
        return self._indices[split]

    def _shards(self, split: str) -> list[Shard]:
        shards, names = list[Shard](), split.split("+")
        if len({*names}) < len(names):
            raise UserError(f"split {split!r}: a split is named twice. Use each split once.")
        for name in names:
            if name not in self._files.splits:
                available = ", ".join(self.splits()) or "none"
                raise UserError(
                    f"split {name!r}: no tar file is of this split by its name or folder, as "
                    f"{name}-0000.tar. Available splits: {available}."
                )
            shards += self._files.splits[name]
        return shards

    @cached_property
    def _files(self) -> "_Files":
        find = _find_remote if is_url(self._address) else _find_local
        found, read = find(self._address or "/", f"data.root={self.settings.root}")
        classes = None
        if CLASSES in found:
            classes = parse_classes(partial(read, CLASSES), f"{self._address}/{CLASSES}")
        shards = [shard for name, shard in found.items() if name.lower().endswith(TAR)]
        if not shards:
            packed = [name for name in found if name.lower().endswith(COMPRESSED)]
            problem = f"{packed[0]} is compressed" if packed else "no .tar files found"
            fix = "Unpack it to a .tar" if packed else "Set it to the folder of the shards"
            raise UserError(f"data.root={self.settings.root}: {problem}. {fix}.")
        splits, unused = dict[str, list[Shard]](), list[str]()
        for shard in shards:
            if split := _find_split(shard.name):
                splits.setdefault(split, []).append(shard)
            else:
                unused.append(shard.name)
        return _Files(splits, unused, classes)


class _Files(NamedTuple):
    """What is in the folder."""

    splits: dict[str, list[Shard]]
    unused: list[str]
    """Tar files that are of no split."""
    classes: tuple[str, ...] | None
    """Names of the classes, if there is a file of them."""


_Found = tuple[dict[str, Shard], Callable[[str], bytes]]
"""The files of a folder by their paths below it, and what reads one of them."""


def _find_local(root: str, setting: str) -> _Found:
    if not Path(root).is_dir():
        raise UserError(f"{setting}: there is no such folder. Set it to the folder of the shards.")
    found = dict[str, Shard]()
    for name in natural_order(list_files(Path(root))):
        path = f"{root.rstrip('/')}/{name}"
        with suppress(OSError):  # a link to nothing
            stat = os.stat(path)  # noqa: PTH116  of what a link leads to
            if S_ISREG(stat.st_mode):
                found[name] = Shard(name, stat.st_size, str(stat.st_mtime_ns), path)
    return found, lambda name: Path(root, name).read_bytes()


def _find_remote(root: str, setting: str) -> _Found:
    if extra := EXTRAS.get(root.partition("://")[0]):
        require_extra(*extra, setting=setting)
    try:
        system, folder = open_storage(root)
        infos = {
            path.removeprefix(folder).lstrip("/"): info
            for path, info in system.find(folder, detail=True).items()
        }
        found = {
            name: Shard(name, infos[name]["size"] or 0, _version(infos[name]), f"{root}/{name}")
            for name in natural_order(infos)
        }
    except Exception as error:  # of any of the libraries for clouds
        raise UserError(
            f"{setting}: this folder cannot be listed ({describe(error)}). Check the address and "
            "your access to it."
        ) from None

    def read(name: str) -> bytes:
        try:
            return bytes(system.cat_file(f"{folder}/{name}"))
        except Exception as error:  # as above
            raise OSError(describe(error)) from None

    return found, read


def _version(info: Mapping[str, Any]) -> str:
    """Return what a storage has that changes with the content of a file."""
    keys = ("ETag", "etag", "blob_id", "md5Hash", "LastModified", "last_modified", "mtime")
    return next((str(info[key]) for key in keys if info.get(key)), "")


def _find_split(name: str) -> str | None:
    """Return the split that the name of a tar file tells, or else the nearest of its folders.

    Words that may be a language, such as ``tr``, tell none.
    """
    path = PurePosixPath(name)
    names = (path.stem, *(folder.name for folder in path.parents))
    certain = (part for part in names if SHORT_WORDS.isdisjoint(words_of(part)))
    return next((split for part in certain if (split := read_name(part).split)), None)


def _are_indices(words: Sequence[str]) -> bool:
    return bool(words) and all(map(str.isdecimal, words))


def _without_zeros(digits: str) -> str:
    return digits.lstrip("0") or "0"


def _class_numbers(words: Sequence[str], classes: Sequence[str]) -> list[int | None]:
    """Return the class of each label: by its name or, unless names are numbers, by its index."""
    numbers = {name: number for number, name in enumerate(classes)}
    if not any(map(str.isdecimal, classes)):
        numbers |= {str(number): number for number in range(len(classes))}
    return [numbers.get(word, numbers.get(_without_zeros(word))) for word in words]
