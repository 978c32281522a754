"""ImageNet, or any labeled images for classifiers: their classes, and the images of each split.

    folders        SPLIT/CLASS/**/IMAGE   the class is the name of the folder, in sorted order
    single_label   SPLIT.csv              one line per image: its path below the root, its label
    multi_label    SPLIT.csv              the same with several labels, separated by spaces
                   classes.txt            for lists: the names of the classes, one per line

A split is stored as three arrays instead of one object per image: with a million images and sixteen
DataLoader workers, objects would take tens of GB.
"""

import csv
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from deeplab.data.layouts.base import IMAGE_SUFFIXES, DataLayout
from deeplab.data.layouts.file_names import list_files, read_name
from deeplab.data.settings import ClassificationSettings
from deeplab.utils.errors import UserError
from deeplab.utils.paths import relative_path

CLASSES = "classes.txt"


class LabeledImage(NamedTuple):
    """One image with its labels."""

    id: str
    """Path below the root."""
    path: Path
    labels: tuple[int, ...]


class LabeledImages(Sequence[LabeledImage]):
    """The labeled images of a split.

    Args:
        root: the folder that paths are relative to.
        paths: paths of the images.
        labels: labels of each image, at least one.
    """

    def __init__(self, root: Path, paths: Sequence[str], labels: Sequence[Sequence[int]]) -> None:
        self.root = root
        self.paths = np.array([path.encode() for path in paths], np.bytes_)
        self.labels = np.array([k for image_labels in labels for k in image_labels], np.int32)
        self.starts = np.cumsum([0, *map(len, labels)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> LabeledImage:  # type: ignore[override]  # no slices
        name = self.paths[index].decode()
        labels = self.labels[self.starts[index] : self.starts[index + 1]]
        return LabeledImage(name, self.root / name, tuple(labels.tolist()))

    def __iter__(self) -> Iterator[LabeledImage]:
        return (self[index] for index in range(len(self)))

    def fingerprint(self) -> str:
        """Return a hash of the images' paths, order and labels, and of the sizes of the files."""
        digest = hashlib.sha256(repr(len(self)).encode())
        for array in (self.paths, self.labels, self.starts):
            digest.update(array.tobytes())
        sizes = (_bytes(f"{self.root}/{path.decode()}") for path in self.paths)
        digest.update(np.fromiter(sizes, np.int64, len(self)).tobytes())
        return digest.hexdigest()[:16]


def _bytes(path: str) -> int:
    """Return a file's size, or -1 if it is missing, which is reported when it is read."""
    try:
        return os.stat(path).st_size  # noqa: PTH116  a Path for each image is slower
    except OSError:
        return -1


Labels = Literal["folders", "single_label", "multi_label"]


class ImageNetSettings(ClassificationSettings):
    """ImageNet, or any images in class folders or with lists of labels."""

    labels: Labels = "folders"
    """Arrangement of the labels: folders with the names of the classes; or ``root/SPLIT.csv`` names
    one or several labels of each image and ``root/classes.txt`` the classes."""


class LabeledFolder(DataLayout):
    """Folder of labeled images in one of the arrangements of the module docstring.

    Args:
        root: the folder.
        labels: the arrangement.
        train_split: the split whose folders are the classes.

    Attributes:
        classes: names of the classes, in order.
        multi_label: True if an image may have several labels, each a yes-or-no question.

    Raises:
        UserError: ``root`` is missing or has another arrangement.
    """

    def __init__(
        self, root: str | Path, *, labels: Labels = "folders", train_split: str = "train"
    ) -> None:
        self.root, self.arrangement = Path(root).expanduser(), labels
        self.multi_label = labels == "multi_label"
        if not self.root.is_dir():
            raise UserError(
                f"data.root={root}: this folder does not exist. Set data.root to the folder of "
                "your images."
            )
        self.classes = (
            self._list_folders(train_split.split("+")[0], "train_split")
            if labels == "folders"
            else _read_classes(self.root / CLASSES)
        )
        if len(self.classes) < 2:
            raise UserError(
                f"data.root={root}: {len(self.classes)} classes found; at least 2 are needed."
            )
        self._class_index = {name: k for k, name in enumerate(self.classes)}
        self._images: dict[str, LabeledImages] = {}

    def num_images(self, split: str) -> int:
        """See ``DataLayout``."""
        return len(self.images(split))

    def fingerprint(self, split: str) -> str:
        """See ``DataLayout``."""
        return self.images(split).fingerprint()

    def check_split(self, split: str) -> None:
        """Check that a split exists, without listing its images; see ``DataLayout``."""
        for name in split.split("+"):
            if self.arrangement == "folders":
                self._class_folders(name)
            else:
                self._csv_path(name)

    def splits(self) -> list[str]:
        """Return the folders with folders of classes, or the lists with names of splits."""
        if self.arrangement != "folders":
            return sorted(p.stem for p in self.root.glob("*.csv") if read_name(p.stem).split)
        folders = (path for path in self.root.iterdir() if path.is_dir())
        return sorted(p.name for p in folders if any((p / name).is_dir() for name in self.classes))

    def origin(self, split: str) -> str:
        """See ``DataLayout``."""
        return f"folder {split}" if self.arrangement == "folders" else f"{split}.csv"

    def images(self, split: str) -> LabeledImages:
        """Return the images of a split, or of several joined by ``+``.

        Raises:
            UserError: there is no such split, it is empty, or its list is wrong.
        """
        if split in self._images:
            return self._images[split]
        paths: list[str] = []
        labels: list[tuple[int, ...]] = []
        for name in split.split("+"):
            labels_by_path = (
                self._read_folders(name) if self.arrangement == "folders" else self._read_csv(name)
            )
            for path, image_labels in labels_by_path.items():
                paths.append(path)
                labels.append(image_labels)
        if not paths:
            raise UserError(
                f"split {split!r}: this split has no images. Add images or choose another split."
            )
        if len(set(paths)) < len(paths):
            raise UserError(
                f"split {split!r}: an image is in it more than once. Use each split and each image "
                "once."
            )
        self._images[split] = LabeledImages(self.root, paths, labels)
        return self._images[split]

    def _list_folders(self, split: str, key: str) -> tuple[str, ...]:
        """Return the names of a split's folders, which are classes."""
        folder = self.root / split
        if not folder.is_dir():
            folders = ", ".join(sorted(p.name for p in self.root.iterdir() if p.is_dir())) or "none"
            raise UserError(
                f"data.{key}={split}: {folder} does not exist. Folders in {self.root}: {folders}. "
                f"Create {folder} with a folder of images for each class; for CSV lists set "
                "data.labels=single_label or multi_label."
            )
        names = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
        if not names:
            raise UserError(
                f"data.{key}={split}: {folder} has no folders. It must hold a folder of images for "
                "each class. ImageNet's validation images come in one folder: sort them into "
                "folders with the names of the training folders."
            )
        return tuple(names)

    def _class_folders(self, split: str) -> tuple[str, ...]:
        names = self._list_folders(split, "val_split")
        if unknown := [name for name in names if name not in self._class_index]:
            raise UserError(
                f"split {split!r}: {unknown[0]} is not a class of the training images "
                f"({len(unknown)} of {len(names)} folders are not). Rename or remove such folders."
            )
        return names

    def _read_folders(self, split: str) -> dict[str, tuple[int, ...]]:
        return {
            f"{split}/{name}/{path}": (self._class_index[name],)
            for name in self._class_folders(split)
            for path in list_files(self.root / split / name)
            if path.lower().endswith(IMAGE_SUFFIXES)
        }

    def _csv_path(self, split: str) -> Path:
        file = self.root / f"{split}.csv"
        if not file.is_file():
            names = ", ".join(sorted(p.stem for p in self.root.glob("*.csv"))) or "none"
            raise UserError(f"split {split!r}: {file} does not exist. Available splits: {names}.")
        return file

    def _read_csv(self, split: str) -> dict[str, tuple[int, ...]]:
        file = self._csv_path(split)
        labels_by_path: dict[str, tuple[int, ...]] = {}
        try:
            with file.open(newline="", encoding="utf-8-sig") as lines:
                for row in csv.reader(lines):
                    if row and row != ["path", "labels"]:
                        path, labels = self._parse_row(file, row)
                        if path in labels_by_path:
                            raise UserError(
                                f"{file}: {path} is listed more than once. Remove the repeated "
                                "lines."
                            )
                        labels_by_path[path] = labels
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(
                f"{file}: this file cannot be read ({error}). Check it and its permissions."
            ) from None
        return labels_by_path

    def _parse_row(self, file: Path, row: Sequence[str]) -> tuple[str, tuple[int, ...]]:
        if len(row) != 2 or not row[0].strip() or not row[1].split():
            raise UserError(
                f"{file}: the line {','.join(row)!r} is not a path, a comma and labels. Correct "
                "the line."
            )
        names = list(dict.fromkeys(row[1].split()))
        if self.arrangement == "single_label" and len(names) > 1:
            raise UserError(
                f"{file}: {row[0]} has {len(names)} labels. For images with several labels set "
                "data.labels=multi_label."
            )
        if unknown := [name for name in names if name not in self._class_index]:
            raise UserError(
                f"{file}: {row[0]}: the class {unknown[0]} is not in {CLASSES}. Add it or correct "
                "the line."
            )
        try:
            path = relative_path(row[0].strip())
        except ValueError as error:
            raise UserError(
                f"{file}: the line {','.join(row)[:100]!r} {error}. Write the path of the image "
                "below data.root."
            ) from None
        return path, tuple(self._class_index[name] for name in names)


class ImageNetLayout(LabeledFolder):
    """Layout of ImageNet and of any other labeled images."""

    def __init__(self, settings: ImageNetSettings) -> None:
        super().__init__(settings.root, labels=settings.labels, train_split=settings.train_split)

    @classmethod
    def check(cls, settings: Any) -> Any:
        """See ``DataLayout``."""
        cls(settings).check_split(settings.val_split)
        return settings


def _read_classes(path: Path) -> tuple[str, ...]:
    try:
        names = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: this file cannot be read ({error}). Write the names of the classes into it, "
            "one per line."
        ) from None
    index: Mapping[str, None] = dict.fromkeys(names)
    if wrong := next((name for name in names if " " in name or "," in name), None):
        raise UserError(
            f"{path}: {wrong!r}: spaces and commas are not allowed in the name of a class. Rename "
            "the class."
        )
    if len(index) < len(names):
        raise UserError(f"{path}: a class is named more than once. Keep each name once.")
    return tuple(names)
