"""The splits of a folder of images and masks: the one place where they are decided.

A list of a split comes before a folder of it. In a folder without either, the names of all images
may begin with their split (``train_1.png``, ``testA_1.png``). A split that has none of these is
taken from what is left: ``train`` from ``trainval`` or from the images of no split, ``val`` from
``trainval`` or by drawing a part of ``train``. Nothing is taken or drawn that belongs to another
split.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from deeplab.data.items import Item
from deeplab.data.layouts.base import MASK_SUFFIXES
from deeplab.data.layouts.file_names import (
    SHORT_WORDS,
    SPLIT_OF,
    SPLIT_WORDS,
    families,
    natural_order,
    read_name,
    shared_start,
    words_of,
)
from deeplab.data.layouts.folder_settings import FolderSettings
from deeplab.data.layouts.pairing import Pair, item_id
from deeplab.data.layouts.split_lists import (
    LIST_SUFFIXES,
    NUMBERS,
    TABLE_SUFFIXES,
    Line,
    read_lines,
)
from deeplab.utils.errors import UserError
from deeplab.utils.paths import ROOT_OR_DRIVE, is_absolute
from deeplab.utils.text import name_some, pluralize

ALL = "all"
"""Split of all images."""

MAX_UNKNOWN_LISTS = 30
"""Number of lists with unknown names that are opened."""


class Split(NamedTuple):
    """Images of a split."""

    items: Sequence[Item]
    origin: str
    """List or folder, or how the images were chosen."""
    error: str = ""
    """Reason why it cannot be used; empty if it can."""


class Splits(NamedTuple):
    """Splits of a folder."""

    by_name: dict[str, Split]
    notes: list[str]
    """Lines about lists and images that are in none."""


class _Source(NamedTuple):
    """A list or folder that is a split by its name."""

    name: str
    split: str | None
    value: Split
    path: str = ""
    """File of a list below the root; empty for a folder."""


Images = dict[str, set[Path]]
"""The images that the lists or folders of each split name."""


def decide_splits(
    root: Path, paths: Sequence[str], pairs: Sequence[Pair], settings: FolderSettings
) -> Splits:
    """Return the splits of a folder.

    Args:
        root: the folder.
        paths: its files.
        pairs: its images with their masks.
        settings: of which ``val_fraction``, ``split_seed`` and the names of the splits are used.
    """
    lists, unused = _read_lists(root, paths, pairs)
    folders, unlabeled = _split_folders(pairs)
    if not any(source.split for source in (*lists, *folders)):
        folders += _split_file_names(pairs)
    sources = {
        split: [source for source in lists if source.split == split]
        or [source for source in folders if source.split == split]
        for split in SPLIT_WORDS
    }
    owned = {
        split: {item.image for source in found for item in source.value.items}
        for split, found in sources.items()
    }
    given = {split: _choose(split, sources) for split, found in sources.items() if found}
    for split in given:  # a list comes before a folder
        if sources[split][0] in folders:
            listed = [other for other in given if other != split and sources[other][0] in lists]
            given[split] = _without(given[split], owned, listed)
    rest = Split(
        [pair.item for pair in pairs if not pair.image.split],
        "the other images" if "val" in given or "test" in given else "all images",
    )
    decided = _complete(given, owned, rest, settings)
    chosen = {source.name for found in sources.values() if len(found) == 1 for source in found}
    named = {s.name: s.value for s in (*folders, *lists) if s.name not in {*chosen, *decided}}
    images = [pair.item for pair in pairs] or [i for split in decided.values() for i in split.items]
    by_name = {
        **decided,
        **{name: named[name] for name in natural_order(named)},
        ALL: Split(list(dict.fromkeys(images)), "all images"),
    }

    notes = [*unlabeled.values()]
    used = {*settings.train_split.split("+"), *settings.val_split.split("+")}
    for source in lists:
        again = len(source.value.items) - len(set(source.value.items))
        if again and source.name in {*used, *chosen}:
            notes.append(f"{source.value.origin} names images more than once: {again} lines")
    opened = {source.path for source in lists if source.name in used}
    unused = [path for path in unused if path not in opened]
    by_path = {s.path: s.name for s in lists if s.name in named and s.name != ALL}
    if others := [path for path in unused if path not in by_path]:
        notes.append(f"Lists not used: {name_some(others)}")
    folds = [s.name for s in folders if not s.split and s.name not in {*used, *unlabeled}]
    for kind, names in (("Lists", [by_path[p] for p in unused if p in by_path]), ("Folds", folds)):
        if names:
            condition = "unless data.train_split or val_split names them"
            notes.append(f"{kind} not used, {condition}: {name_some(names)}")
    if "train" in given or "trainval" in given:
        taken = {item.image for split in decided.values() for item in split.items}
        taken = taken.union(*owned.values())
        if left := [pair.image.path for pair in pairs if pair.item.image not in taken]:
            count = f"{len(left)} of {pluralize(len(pairs), 'image')}"
            notes.append(f"{count} in no split: {name_some(left)}")
    return Splits(by_name, notes)


def _complete(
    given: dict[str, Split], owned: Images, rest: Split, settings: FolderSettings
) -> dict[str, Split]:
    """Return the given splits with ``train`` and ``val``; ``rest`` is in no list or folder."""
    splits = dict(given)
    trainval = splits.get("trainval")
    if "train" not in splits:
        splits["train"] = _without(trainval or rest, owned, ("val", "test"))
    elif "val" not in splits and trainval:
        others = _without(trainval, owned, ("train", "test"))
        splits |= {"val": others} if others.items else {}
    train = splits["train"]
    if not train.items and not train.error:
        taken = ", ".join(
            f"{name}: {len(s.items)} images of {s.origin}" for name, s in given.items()
        )
        taken = f" ({taken})" if taken else ""
        problem = f"no image is left for it{taken}. Add images or another list."
        splits["train"] = Split([], "", problem)
    elif "val" not in splits:
        splits["train"], splits["val"] = _draw(train, owned["test"], settings)
    return {
        name: splits[name]
        for name in ("train", "val", "test", "trainval")
        if name in splits and (splits[name].items or splits[name].error)
    }


def _draw(train: Split, test: set[Path], settings: FolderSettings) -> tuple[Split, Split]:
    """Return a split without a part of it, and this part; a new image moves few of the others."""
    fraction, seed = settings.val_fraction, settings.split_seed
    ids = [item.id for item in train.items if item.image not in test]
    ranked = sorted(ids, key=lambda i: hashlib.sha256(f"{seed} {i}".encode()).digest())
    drawn = set(ranked[: max(1, round(fraction * len(ids)))])
    val = [item for item in train.items if item.id in drawn]
    rest = [item for item in train.items if item.id not in drawn]
    problem = "" if rest else "there is only one image to draw val from. Add images."
    return (
        Split(rest, f"{train.origin} without val", train.error or problem),
        Split(val, f"{100 * fraction:g} % of {train.origin} by seed {seed}", train.error),
    )


def _without(split: Split, owned: Images, others: Iterable[str]) -> Split:
    """Return a split without the images of others."""
    removed = [other for other in others if any(i.image in owned[other] for i in split.items)]
    if not removed:
        return split
    left = [i for i in split.items if not any(i.image in owned[other] for other in removed)]
    return split._replace(items=left, origin=f"{split.origin} without {' and '.join(removed)}")


def _choose(split: str, sources: dict[str, list[_Source]]) -> Split:
    """Return the only source of a split, or one with the error that there are several."""
    found = sources[split]
    if len(found) == 1 or len({tuple(sorted(i.image for i in s.value.items)) for s in found}) == 1:
        return found[0].value
    names = natural_order(source.name for source in found)
    example = " ".join(
        f"data.{name}_split={natural_order(source.name for source in sources[name])[0]}"
        for name in dict.fromkeys((split, "train", "val"))
        if name in ("train", "val") and len(sources[name]) > 1
    ) or f"data.val_split={names[0]}"  # fmt: skip
    return Split(
        [], "", f"{len(names)} may be it: {name_some(names)}. Choose one, as with {example}."
    )


def _split_folders(pairs: Sequence[Pair]) -> tuple[list[_Source], dict[str, str]]:
    """Return the folders of splits and folds, and a line about each of ``val`` without masks.

    Published test images often have none; such a folder of ``val`` is one more of them.
    """
    by_name: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_name[pair.image.subset].append(pair)
    by_name.pop("", None)
    sources: list[_Source] = []
    unlabeled: dict[str, str] = {}
    for name, members in by_name.items():
        split = members[0].image.split
        folder = _common_folder([pair.image.folder for pair in members]) or f"folders {name}"
        error = ""
        if split in ("train", "trainval", "val") and not any(pair.mask for pair in members):
            error = f"none of the {len(members)} images of {folder} has a mask"
            if split == "val":
                unlabeled[name] = f"val is drawn from train: {error}"
                split, error = None, ""
        items = [pair.item for pair in members]
        sources.append(_Source(name, split, Split(items, folder, error and f"{error}. Add masks.")))
    return sources, unlabeled


def _split_file_names(pairs: Sequence[Pair]) -> list[_Source]:
    """Return the splits with which the names of all images begin; empty if one name tells none."""
    by_split: dict[str | None, list[Item]] = defaultdict(list)
    for pair in pairs:
        first = next(iter(words_of(pair.image.stem)), "")
        split = None if first in SHORT_WORDS else SPLIT_OF.get(first)
        by_split[split].append(pair.item)
    if None in by_split or len(by_split) < 2:
        return []
    return [
        _Source(split, split, Split(items, f"images named {split}"))
        for split, items in by_split.items()
        if split
    ]


def _common_folder(folders: Sequence[str]) -> str:
    """Return the folder that holds all of some folders."""
    first, last = min(folders).split("/"), max(folders).split("/")
    return "/".join(first[: shared_start(first, last)])


def _read_lists(
    root: Path, paths: Sequence[str], pairs: Sequence[Pair]
) -> tuple[list[_Source], list[str]]:
    """Return the lists of splits, and the paths of lists that are not used.

    Those are lists with unknown names, and JSON files with the name of a split.
    """
    finder = _ImageFinder(root, paths, pairs)
    lists = [path for path in paths if path.lower().endswith(LIST_SUFFIXES)]
    known_words = families(map(_stem, lists))
    sources: list[_Source] = []
    uncertain: list[_Source] = []
    unknown: list[str] = []
    stems = Counter(_stem(path) for path in lists)
    for path in lists:
        meaning = read_name(_stem(path))
        told = meaning.split if meaning.others in known_words else None
        sure = told and not meaning.others and meaning.role != "mask"
        if not told and (_stem(path) in finder.by_stem or len(unknown) == MAX_UNKNOWN_LISTS):
            continue  # labels of one image
        if not (sure and not path.lower().endswith(TABLE_SUFFIXES)) and not finder.is_list(path):
            continue
        if not told and (table := finder.read_table(path)):
            uncertain += table
            unknown += [path] * (not any(source.split for source in table))
            continue
        name = _stem(path) if stems[_stem(path)] == 1 else path.rpartition(".")[0]
        source = _Source(name, told, finder.read(path, told or name), path)
        if not told:
            unknown.append(path)
        (sources if sure else uncertain).append(source)
    known = {source.split for source in sources}
    for source in uncertain:
        if source.split in known:
            unknown.append(source.path)
            source = source._replace(split=None)
        if source.split or not source.value.error:
            sources.append(source)
    unknown += [
        path
        for path in paths
        if path.endswith(".json") and not (m := read_name(_stem(path))).others
        and (m.split or "split" in _stem(path).lower())
    ]  # fmt: skip
    return _prefer_segmentation(sources), natural_order(dict.fromkeys(unknown))


def _prefer_segmentation(sources: list[_Source]) -> list[_Source]:
    """Return lists without those of VOC's other tasks."""
    folders = {source.path.rpartition("/")[0] for source in sources}
    segmentation = {folder for folder in folders if folder.endswith("ImageSets/Segmentation")}
    if not segmentation:
        return sources
    return [
        source
        for source in sources
        if "ImageSets/" not in source.path or source.path.rpartition("/")[0] in segmentation
    ]


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


class _ImageFinder:
    """Finds the images that lists name; names are compared in Unicode's composed form."""

    def __init__(self, root: Path, paths: Sequence[str], pairs: Sequence[Pair]) -> None:
        self.root = root
        self.by_stem: dict[str, list[Pair]] = defaultdict(list)
        self.by_folder: dict[str, list[Pair]] = defaultdict(list)
        self.by_path = {pair.image.path: pair for pair in pairs}
        for pair in pairs:
            for stem in {pair.image.stem, pair.item.id.rpartition("/")[2]}:
                self.by_stem[stem].append(pair)
            self.by_folder[pair.image.folder.rpartition("/")[2]].append(pair)
        self.by_file: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            self.by_file[normalize("NFC", path.rpartition("/")[2])].append(path)
        self.lines = lru_cache(1)(lambda path: read_lines(root / path))
        """Lines of a list by its path; the last one is kept."""

    def is_list(self, path: str) -> bool:
        """Return True if the first line of a file that is no heading names an image."""
        try:
            first = next(line for line in self.lines(path) if not line.is_heading)
            return bool(self._items(first, None, folders=False))
        except (UserError, StopIteration):
            return False

    def read(self, path: str, split: str) -> Split:
        """Return the images of a list, with the error of its first wrong line."""
        try:
            lines = self.lines(path)
        except UserError as problem:
            return Split([], path, str(problem))
        return self._find_all(lines, path, split)

    def read_table(self, path: str) -> list[_Source]:
        """Return the splits of a table with a column that names them; empty if it has none."""
        by_value: dict[str, list[Line]] = defaultdict(list)
        for line in self.lines(path):
            by_value[line.split].append(line)
        by_value.pop("", None)
        splits = {value: read_name(value).split for value in by_value}
        return [
            _Source(
                value if splits[value] else f"fold{value}",
                splits[value],
                self._find_all(lines, path, splits[value] or value)._replace(
                    origin=f"{path}, rows of {value}"
                ),
                path,
            )
            for value, lines in by_value.items()
        ]

    def _find_all(self, lines: Iterable[Line], path: str, split: str) -> Split:
        items: list[Item] = []
        error = ""
        for line in lines:
            try:
                items += self._items(line, split)
            except UserError as problem:
                error = error or str(problem)
        if path.lower().endswith(TABLE_SUFFIXES):  # a table may have a row for each object
            items = list(dict.fromkeys(items))
        error = error or ("" if items else f"{path} lists no images. Add their ids, one per line.")
        return Split(items, path, error)

    def _items(self, line: Line, split: str | None, *, folders: bool = True) -> list[Item]:
        """Return the image of a line with its mask, or the images of a folder; none of a heading.

        Raises:
            UserError: there is no such image.
        """
        image, mask = line.files
        if mask:
            image_file, mask_file = self._file(line, image), self._file(line, mask)
            pair = self.by_path.get(image_file)
            name = pair.item.id if pair else item_id(_without_suffix(image_file))
            return [Item(name, self.root / image_file, self.root / mask_file)]
        pair = self._find(line, image, split)
        if pair is None and (match := NUMBERS.fullmatch(image)):
            pair = self._find(line, match[1], split)
        if pair or line.is_heading:
            return [pair.item] if pair else []
        parts = self._parts(line, image)
        in_folder = [
            pair.item for pair in self.by_folder.get(parts[-1], ()) if folders
            and f"/{pair.image.folder}".endswith("/" + "/".join(parts))
        ]  # fmt: skip
        if in_folder:  # such as the name of a video
            return in_folder
        kind = "is an absolute path and" if is_absolute(image) else ""
        raise line.error(
            f"{kind} is no image of {self.root}".strip(), "Add the image or remove the line."
        )

    def _parts(self, line: Line, name: str) -> list[str]:
        """Return the parts of a path, without the root or drive of another machine."""
        return line.check(ROOT_OR_DRIVE.sub("", normalize("NFC", name), count=1)).split("/")

    def _find(self, line: Line, name: str, split: str | None) -> Pair | None:
        """Return the image whose path or id ends as a name does, preferably of a split."""
        *folders, last = self._parts(line, _without_suffix(name))
        told = {read_name(folder).split for folder in folders} - {None}
        found = [
            p for p in self.by_stem.get(last, ()) if not told or p.image.split in {*told, None}
        ]
        if len(found) > 1:
            shared = [
                max(shared_start([last, *folders[::-1]], text.split("/")[::-1])
                    for text in (_without_suffix(pair.image.path), pair.item.id))
                for pair in found
            ]  # fmt: skip
            found = [p for p, n in zip(found, shared, strict=True) if n == max(shared)]
        if len(found) > 1:
            found = [pair for pair in found if pair.image.split == split] or found
        if len(found) > 1:
            raise line.error(
                f"may be {found[0].image.path} or {found[1].image.path}", "Add the folder."
            )
        return found[0] if found else None

    def _file(self, line: Line, name: str) -> str:
        """Return the only file below the root whose path ends as a name does."""
        parts = self._parts(line, name)[::-1]
        paths = self.by_file.get(parts[0], [])
        shared = [shared_start(parts, normalize("NFC", path).split("/")[::-1]) for path in paths]
        best = [path for path, n in zip(paths, shared, strict=True) if n == max(shared)]
        if len(best) != 1:
            found = f"{best[0]} and {best[1]}" if best else f"no file below {self.root}"
            raise line.error(f"names {name}, which is {found}", "Correct the line.")
        return best[0]


def _without_suffix(path: str) -> str:
    stem, dot, suffix = path.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in MASK_SUFFIXES else path
