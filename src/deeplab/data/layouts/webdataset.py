"""Labeled images in the form of WebDataset: in tar files, on a disk or in a cloud.

    imagenet1k-train-0000.tar    images with their labels, as ``7.jpg`` and ``7.cls``
    imagenet1k-validation-00.tar
    classes.txt                  names of the classes, one per line; without it, the labels

The split is told by the name of the file or of its folder. ``shards.samples`` has the form of the
files.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from deeplab.data.labeled_images import LabeledImages
from deeplab.data.layouts.base import LabeledLayout, check_splits, no_such_split
from deeplab.data.layouts.imagenet import CLASSES
from deeplab.data.layouts.shards.find_shards import FoundShards, find_shards
from deeplab.data.layouts.shards.samples import Shard
from deeplab.data.layouts.shards.shard_index import ShardIndex, get_or_make_index
from deeplab.data.layouts.shards.sharded_images import ShardedImages
from deeplab.data.settings import ClassificationSettings
from deeplab.data.split_error import SplitError
from deeplab.utils.errors import UserError
from deeplab.utils.paths import absolute_path
from deeplab.utils.settings import Text
from deeplab.utils.text import pluralize

MAX_DIGITS = 6
"""Largest number of digits of the index of a class."""

NO_INDEX = re.compile(r"[+-]\d+|[+-]?\d*[.,]\d*(?:[eE][+-]?\d+)?")
"""Numbers that are no index."""


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
        check_splits(settings, layout.check_split)
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
                f"data.root={self.root}: {pluralize(len(names), 'class')} found; at least 2 are "
                "needed."
            )
        return names

    def images(self, split: str) -> LabeledImages:
        """See ``LabeledLayout``."""
        index = self._index(split)
        if not len(index):
            raise SplitError(split, "its shards have no images. Choose another split.")
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
            raise SplitError(split, "a split is named twice. Use each split once.")
        for name in names:
            if name not in self._files.splits:
                problem = f"no tar file is of this split by its name or folder, as {name}-0000.tar"
                raise no_such_split(name, self.splits(), problem)
            shards += self._files.splits[name]
        return shards

    @cached_property
    def _files(self) -> FoundShards:
        return find_shards(self._address, f"data.root={self.settings.root}")


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
