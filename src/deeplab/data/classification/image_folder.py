"""Pictures and the labels of each: where they are, and which classes there are.

    folders    SPLIT/CLASS/**/PICTURE   the class is the name of the folder, in their sorted order
    one        SPLIT.csv                a line for each picture: its path below the root, its label
    several    SPLIT.csv                the same with several labels, blanks between them
               classes.txt              of lists: the names of the classes, one a line

Of a split there are three arrays and no object for each picture: with a million of them and sixteen
loading processes those would take tens of GB.
"""

import csv
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from deeplab.data.image_io import IMAGE_SUFFIXES
from deeplab.utils.errors import UserError

CLASSES = "classes.txt"


class Picture(NamedTuple):
    """One picture."""

    id: str
    """Its path below the root."""
    path: Path
    labels: tuple[int, ...]


class Pictures:
    """The pictures of a split.

    Args:
        root: the folder that paths are below.
        paths: of the pictures.
        labels: of each; at least one.
    """

    def __init__(self, root: Path, paths: Sequence[str], labels: Sequence[Sequence[int]]) -> None:
        self.root = root
        self.paths = np.array([path.encode() for path in paths], np.bytes_)
        self.labels = np.array([k for each in labels for k in each], np.int32)
        self.starts = np.cumsum([0, *map(len, labels)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Picture:
        name = self.paths[index].decode()
        labels = self.labels[self.starts[index] : self.starts[index + 1]]
        return Picture(name, self.root / name, tuple(labels.tolist()))

    def __iter__(self) -> Iterator[Picture]:
        return (self[index] for index in range(len(self)))

    def fingerprint(self) -> str:
        """Changes with the pictures' paths, order and labels, and with the sizes of the files."""
        digest = hashlib.sha256(repr(len(self)).encode())
        for array in (self.paths, self.labels, self.starts):
            digest.update(array.tobytes())
        sizes = (_bytes(f"{self.root}/{path.decode()}") for path in self.paths)
        digest.update(np.fromiter(sizes, np.int64, len(self)).tobytes())
        return digest.hexdigest()[:16]


def _bytes(path: str) -> int:
    """A file's size; -1 if it is missing, which is found when it is read."""
    try:
        return os.stat(path).st_size  # noqa: PTH116  a Path for each would take longer
    except OSError:
        return -1


class ImageFolder:
    """Pictures in one of the arrangements at the head of the file.

    Args:
        root: the folder.
        labels: the arrangement.
        train_split: the split whose folders are the classes.

    Attributes:
        classes: their names, in order.

    Raises:
        UserError: ``root`` is missing or is not arranged so.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        labels: Literal["folders", "single_label", "multi_label"],
        train_split: str,
    ) -> None:
        self.root, self.arrangement = Path(root).expanduser(), labels
        if not self.root.is_dir():
            raise UserError(f"data.root={root}: this folder does not exist.")
        self.classes = (
            self._folders(train_split.split("+")[0], "train_split")
            if labels == "folders"
            else _read_classes(self.root / CLASSES)
        )
        if len(self.classes) < 2:
            raise UserError(f"data.root={root}: two classes at least are wanted.")
        self._index = {name: k for k, name in enumerate(self.classes)}
        self._found: dict[str, Pictures] = {}

    def check(self, split: str) -> None:
        """SeedResult whether a split is there, without listing its pictures; raises as ``pictures``."""
        for name in split.split("+"):
            if self.arrangement == "folders":
                self._class_folders(name)
            else:
                self._list(name)

    def pictures(self, split: str) -> Pictures:
        """The pictures of a split, or of several joined by ``+``.

        Raises:
            UserError: there is no such split, nothing in it, or something that cannot be.
        """
        if split in self._found:
            return self._found[split]
        paths: list[str] = []
        labels: list[tuple[int, ...]] = []
        for name in split.split("+"):
            found = self._in_folders(name) if self.arrangement == "folders" else self._listed(name)
            for path, known in found.items():
                paths.append(path)
                labels.append(known)
        if not paths:
            raise UserError(f"split {split!r}: there are no pictures in it.")
        if len(set(paths)) < len(paths):
            raise UserError(f"split {split!r}: a picture is in it more than once.")
        self._found[split] = Pictures(self.root, paths, labels)
        return self._found[split]

    def _folders(self, split: str, key: str) -> tuple[str, ...]:
        """The folders of a split, which are named by classes."""
        folder = self.root / split
        if not folder.is_dir():
            here = ", ".join(sorted(p.name for p in self.root.iterdir() if p.is_dir())) or "none"
            raise UserError(
                f"data.{key}={split}: {folder} does not exist. Folders there: {here}. It is to "
                "hold a folder of pictures for each class; lists have data.labels=single_label or several."
            )
        found = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
        if not found:
            raise UserError(
                f"data.{key}={split}: {folder} has no folders. It is to hold a folder for each "
                "class; ImageNet's validation images, which come in one folder, are to be sorted "
                "into folders named as those of train."
            )
        return tuple(found)

    def _class_folders(self, split: str) -> tuple[str, ...]:
        names = self._folders(split, "val_split")
        if unknown := [name for name in names if name not in self._index]:
            raise UserError(
                f"split {split!r}: {unknown[0]} is no class of the training images "
                f"({len(unknown)} of its {len(names)} folders are none)."
            )
        return names

    def _in_folders(self, split: str) -> dict[str, tuple[int, ...]]:
        return {
            f"{split}/{name}/{inner}": (self._index[name],)
            for name in self._class_folders(split)
            for inner in sorted(_images_below(str(self.root / split / name)))
        }

    def _list(self, split: str) -> Path:
        file = self.root / f"{split}.csv"
        if not file.is_file():
            here = ", ".join(sorted(p.stem for p in self.root.glob("*.csv"))) or "none"
            raise UserError(f"split {split!r}: {file} does not exist. Lists there: {here}.")
        return file

    def _listed(self, split: str) -> dict[str, tuple[int, ...]]:
        file = self._list(split)
        found: dict[str, tuple[int, ...]] = {}
        try:
            with file.open(newline="") as lines:
                for row in csv.reader(lines):
                    if row and row != ["path", "labels"]:
                        path, labels = self._line(file, row)
                        if path in found:
                            raise UserError(f"{file}: {path} is listed more than once.")
                        found[path] = labels
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{file}: this cannot be read ({error}).") from None
        return found

    def _line(self, file: Path, row: Sequence[str]) -> tuple[str, tuple[int, ...]]:
        if len(row) != 2 or not row[0].strip() or not row[1].split():
            raise UserError(
                f"{file}: the line {','.join(row)!r} is not a path, a comma and labels."
            )
        names = list(dict.fromkeys(row[1].split()))
        if self.arrangement == "single_label" and len(names) > 1:
            raise UserError(
                f"{file}: {row[0]} has {len(names)} labels; pictures with several want "
                "data.labels=multi_label."
            )
        if unknown := [name for name in names if name not in self._index]:
            raise UserError(f"{file}: {row[0]}: {unknown[0]} is not among {CLASSES}.")
        return row[0].strip(), tuple(self._index[name] for name in names)


def _images_below(folder: str, inside: str = "") -> Iterator[str]:
    """The paths of the pictures below a folder."""
    with os.scandir(f"{folder}/{inside}") as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _images_below(folder, f"{inside}{entry.name}/")
            elif entry.name.lower().endswith(IMAGE_SUFFIXES) and entry.name[0] != ".":
                yield inside + entry.name


def _read_classes(path: Path) -> tuple[str, ...]:
    try:
        names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: this cannot be read ({error}). It is to hold the names of the classes, one a "
            "line."
        ) from None
    index: Mapping[str, None] = dict.fromkeys(names)
    if wrong := next((name for name in names if " " in name or "," in name), None):
        raise UserError(f"{path}: {wrong!r}: the name of a class has neither blanks nor commas.")
    if len(index) < len(names):
        raise UserError(f"{path}: a class is named more than once.")
    return tuple(names)
