"""ImageNet, or any labeled images for classifiers: their classes, and the images of each split.

    folders        SPLIT/CLASS/**/IMAGE   the class is the name of the folder, in sorted order
    single_label   SPLIT.csv, .parquet    one line per image: its path below the root, its label
    multi_label    SPLIT.csv, .parquet    the same with several labels, separated by spaces
                   classes.txt            for lists: the names of the classes, one per line

``label_lists`` reads the lists.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from deeplab.data.labeled_images import LabeledFiles, LabeledPaths
from deeplab.data.layouts.base import (
    LabeledLayout,
    check_splits,
    is_image,
    name_key,
    no_such_split,
)
from deeplab.data.layouts.file_names import list_files, list_names, read_name
from deeplab.data.layouts.label_lists import LABEL_SUFFIXES, LabelList
from deeplab.data.settings import ClassificationSettings
from deeplab.data.split_error import SplitError
from deeplab.utils.errors import UserError
from deeplab.utils.text import pluralize

CLASSES = "classes.txt"

Labels = Literal["folders", "single_label", "multi_label"]


class ImageNetSettings(ClassificationSettings):
    """ImageNet, or any images in class folders or with lists of labels."""

    labels: Labels = "folders"
    """Arrangement of the labels: folders with the names of the classes; or ``root/SPLIT.csv`` (or
    ``.parquet``) names one or several labels of each image and ``root/classes.txt`` the classes."""


class LabeledFolder(LabeledLayout):
    """Folder of labeled images in one of the arrangements of the module docstring.

    Args:
        root: the folder.
        labels: the arrangement.
        train_split: the split, or several joined by ``+``, whose folders are the classes.

    Raises:
        UserError: ``root`` is missing or has another arrangement.
    """

    root: Path

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
            self._training_folders(train_split)
            if labels == "folders"
            else parse_classes((self.root / CLASSES).read_bytes, self.root / CLASSES)
        )
        if len(self.classes) < 2:
            raise UserError(
                f"data.root={root}: {pluralize(len(self.classes), 'class')} found; at least 2 are "
                "needed."
            )
        self._class_index = {name: k for k, name in enumerate(self.classes)}
        self._images: dict[str, LabeledFiles] = {}

    def check_split(self, split: str) -> None:
        """Check that a split exists, without listing its images; see ``DataLayout``."""
        for name in split.split("+"):
            if self.arrangement == "folders":
                self._class_folders(name)
            else:
                self._find_list(name)

    def splits(self) -> list[str]:
        """Return the folders with folders of classes, or the lists with names of splits."""
        if self.arrangement != "folders":
            files = [path for path in self.root.iterdir() if path.suffix in LABEL_SUFFIXES]
            return sorted({path.stem for path in files if read_name(path.stem).split})
        folders = (path for path in self.root.iterdir() if path.is_dir())
        return sorted(p.name for p in folders if any((p / name).is_dir() for name in self.classes))

    def origin(self, split: str) -> str:
        """See ``DataLayout``."""
        return f"folder {split}" if self.arrangement == "folders" else self._find_list(split).name

    def images(self, split: str) -> LabeledFiles:
        """See ``LabeledLayout``."""
        if split in self._images:
            return self._images[split]
        labeled = LabeledPaths.join([self._read(name) for name in split.split("+")])
        if not len(labeled.paths):
            raise SplitError(split, "this split has no images. Add images or choose another split.")
        if "+" in split and labeled.paths.find_repeated() is not None:
            raise SplitError(
                split, "an image is in it more than once. Use each split and each image once."
            )
        self._images[split] = LabeledFiles(self.root, labeled)
        return self._images[split]

    def _training_folders(self, train_split: str) -> tuple[str, ...]:
        """Return the names of the folders of the training images, which are the classes."""
        with name_key("train_split", train_split):
            return tuple(sorted({*chain(*map(self._list_folders, train_split.split("+")))}))

    def _list_folders(self, split: str) -> list[str]:
        """Return the names of a split's folders, sorted."""
        folder = self.root / split
        if not folder.is_dir():
            folders = ", ".join(sorted(p.name for p in self.root.iterdir() if p.is_dir())) or "none"
            raise SplitError(
                split,
                f"{folder} does not exist. Folders in {self.root}: {folders}. Create {folder} with "
                "a folder of images for each class; for CSV lists set data.labels=single_label or "
                "multi_label.",
            )
        names = sorted(name[:-1] for name in list_names(str(folder)) if name.endswith("/"))
        if not names:
            raise SplitError(
                split,
                f"{folder} has no folders. It must hold a folder of images for each class. "
                "ImageNet's validation images come in one folder: sort them into folders with the "
                "names of the training folders.",
            )
        return names

    def _class_folders(self, split: str) -> list[str]:
        names = self._list_folders(split)
        if unknown := [name for name in names if name not in self._class_index]:
            raise SplitError(
                split,
                f"{unknown[0]} is not a class of the training images ({len(unknown)} of "
                f"{len(names)} folders are not). Rename or remove such folders.",
            )
        return names

    def _read(self, split: str) -> LabeledPaths:
        if self.arrangement != "folders":
            return LabelList(self._find_list(split), self._class_index, self.multi_label).read()
        return LabeledPaths.of(
            (f"{split}/{name}/{path}", (self._class_index[name],))
            for name in self._class_folders(split)
            for path in list_files(self.root / split / name)
            if is_image(path)
        )

    def _find_list(self, split: str) -> Path:
        files = [self.root / f"{split}{suffix}" for suffix in LABEL_SUFFIXES]
        found = [file for file in files if file.is_file()]
        if len(found) > 1:
            names = " and ".join(file.name for file in found)
            raise SplitError(split, f"{names} may both be its list. Remove one of them.")
        if not found:
            raise no_such_split(split, self.splits(), f"{files[0]} does not exist")
        return found[0]


class ImageNetLayout(LabeledFolder):
    """Layout of ImageNet and of any other labeled images."""

    def __init__(self, settings: ImageNetSettings) -> None:
        super().__init__(settings.root, labels=settings.labels, train_split=settings.train_split)

    @classmethod
    def check(cls, settings: Any) -> Any:
        """See ``DataLayout``."""
        check_splits(settings, cls(settings).check_split)
        return settings


def parse_classes(content: Callable[[], bytes], path: Path | str) -> tuple[str, ...]:
    """Return the names of the classes in a file with one per line.

    Args:
        content: returns what the file holds.
        path: the file, for messages.

    Raises:
        UserError: it cannot be read, or a name is repeated or cannot be one.
    """
    try:
        lines = content().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: this file cannot be read ({error}). Write the names of the classes into it, "
            "one per line."
        ) from None
    names = [line.strip() for line in lines if line.strip()]
    index: Mapping[str, None] = dict.fromkeys(names)
    if wrong := next((name for name in names if " " in name or "," in name), None):
        raise UserError(
            f"{path}: {wrong!r}: spaces and commas are not allowed in the name of a class. Rename "
            "the class."
        )
    if len(index) < len(names):
        raise UserError(f"{path}: a class is named more than once. Keep each name once.")
    return tuple(names)
