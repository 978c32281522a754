"""Layout of your own images and masks, in the usual arrangements.

    images/ID.jpg        masks/ID.png            two folders; split by lists or at random
    images/train/ID.jpg  masks/train/ID.png      ... with a folder for each split
    train/images/ID.jpg  train/masks/ID.png
    train/ID.png         trainannot/ID.png       as in CamVid
    ID.jpg               ID_mask.png             one folder, distinguished by a suffix
    ID.jpg               ID.png                  ... or by the file format
    train.txt                                    lists: one id, or an image and its mask, per line

Folders with the usual names are found; ``image_dir`` and ``mask_dir`` name others.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from deeplab.data.layouts.base import IMAGE_SUFFIXES, Item, Layout, read_lines
from deeplab.data.settings import SegmentationSettings
from deeplab.utils.errors import UserError
from deeplab.utils.settings import Float, Seed, Text

JPEG = (".jpg", ".jpeg")
NON_JPEG = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix not in JPEG)

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "inputs")
MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "annot", "gt",
    "segmentationclass", "targets",
)  # fmt: skip
MASK_SUFFIXES = ("", "_mask", "_label", "_labels", "_gt", "_seg", "_segmentation", "_annot", "_L")
MASK_FOLDER_SUFFIXES = ("annot", "_annot", "_labels", "_masks", "_mask", "_label", "_gt")
"""Possible ends of a mask folder's name after the name of its split, as in CamVid's trainannot."""

LIST_FOLDERS = (".", "splits", "lists", "ImageSets/Segmentation")
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test",)}
"""Possible folder names of each split."""

FolderPair = tuple[Path, Path]
"""Folder of images and folder of masks."""


class FolderSettings(SegmentationSettings):
    """Your own images and masks."""

    classes: Annotated[
        tuple[Text, ...], Field(max_length=254), BeforeValidator(lambda value: value or ())
    ] = ()
    """Names of the classes; null: from ``classes_file``."""
    classes_file: Text | None = None
    """File of the names and mask values of the classes; null: ``classes.yaml``, ``classes.csv`` and
    similar in ``root``. Without one they are found in the masks and written to
    ``root/classes.yaml``."""
    image_dir: Text | None = None
    """Folder of the images below ``root``; null: the usual names are tried."""
    mask_dir: Text | None = None
    """Folder of the masks; if it is that of the images, suffixes distinguish them."""
    image_suffix: Annotated[str, Field(max_length=100)] = ""
    """End of an image's file name, after the part that it shares with its mask."""
    mask_suffix: Annotated[str, Field(max_length=100)] | None = None
    """End of a mask's file name, such as ``_mask``; null: the usual ones are tried."""
    val_fraction: Annotated[Float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the images that is drawn as ``val``, if there are neither lists nor folders of
    splits; the rest is ``train``."""
    split_seed: Seed = 0
    """Seed of that draw."""


class FolderLayout(Layout):
    """Layout of a folder of images and masks.

    Raises:
        UserError: the folder does not exist, or no images and masks are found in it.
    """

    def __init__(self, settings: FolderSettings) -> None:
        root, image_dir, mask_dir = settings.root, settings.image_dir, settings.mask_dir
        self.root = Path(root).expanduser()
        if not self.root.is_dir():
            raise UserError(
                f"data.root={root}: this folder does not exist. Set data.root to the folder of "
                "your images and masks."
            )
        self.image_suffix, self.mask_suffix = settings.image_suffix, settings.mask_suffix
        self.val_fraction, self.split_seed = settings.val_fraction, settings.split_seed
        self.folders = (
            self._configured_folders(image_dir, mask_dir)
            if image_dir or mask_dir
            else self._find_folders()
        )
        if not self.folders:
            raise UserError(
                f"data.root={root}: no images and masks found in this folder. Expected two folders "
                "such as images and masks, or images with masks beside them such as a.jpg and "
                "a_mask.png. For other folders set data.image_dir=FOLDER data.mask_dir=FOLDER."
            )

    def splits(self) -> list[str]:
        random_splits = ["train", "val", "all"] if "" in self.folders else []
        return sorted({*self.folders, *random_splits, *self._split_lists()} - {""})

    def items(self, split: str) -> list[Item]:
        split_list = self._split_lists().get(split)
        if split_list:
            return self._read_list(split_list, split)
        folders = self.folders.get(split)
        if folders:
            return self._find_pairs(*folders)
        all_items = self._find_pairs(*self.folders[""]) if "" in self.folders else []
        if split not in ("train", "val", "all") or not all_items:
            raise UserError(
                f"split {split!r}: no such split. Available splits: {', '.join(self.splits())}."
            )
        if split == "all":
            return all_items
        val_ids = self._draw_val_ids([item.id for item in all_items])
        return [item for item in all_items if (item.id in val_ids) == (split == "val")]

    def with_classes(self, settings: FolderSettings, items: Sequence[Item]) -> FolderSettings:
        """Return the settings with the classes of their file or, without one, of the masks."""
        if settings.classes:
            return settings
        from deeplab.data.layouts.class_discovery import read_or_find_classes  # imports OpenCV

        found = read_or_find_classes(
            self.root, items, classes_file=settings.classes_file, ignored=settings.ignored_values
        )
        return settings.model_copy(
            update={
                "classes": found.names,
                "palette": found.colors,
                "mask_values": found.values,
                "ignored_values": found.ignored,
            }
        )

    @classmethod
    def check_same_classes(cls, settings: FolderSettings, root: str) -> None:
        """See ``DataLayout``."""
        from deeplab.data.class_set import class_set  # imports OpenCV
        from deeplab.data.layouts.classes_file import find_classes_file, read_classes

        path = find_classes_file(Path(root).expanduser(), settings.classes_file)
        if path is None:
            return
        folder_classes, run_classes = read_classes(path), class_set(settings)
        if (folder_classes.names, folder_classes.values) != (run_classes.names, run_classes.values):
            raise UserError(
                f"{path}: its classes or their values differ from those that the run was trained "
                f"with ({', '.join(settings.classes)}). Convert the masks to the run's values, or "
                "remove the file."
            )

    def _configured_folders(
        self, image_dir: str | None, mask_dir: str | None
    ) -> dict[str, FolderPair]:
        pair = (self.root / (image_dir or "."), self.root / (mask_dir or "."))
        for key, folder in zip(("image_dir", "mask_dir"), pair, strict=True):
            if not folder.is_dir():
                raise UserError(
                    f"data.{key}: the folder {folder} does not exist. Set data.{key} to a folder "
                    "below data.root."
                )
        return _split_folders(*pair)

    def _find_folders(self) -> dict[str, FolderPair]:
        """Return the folders of each split in the first matching arrangement; "" for no splits."""
        if pair := _image_and_mask_folders(self.root):
            return _split_folders(*pair)
        by_split = {}
        for split, names in SPLITS.items():
            for folder in (self.root / name for name in names if (self.root / name).is_dir()):
                siblings = [folder.with_name(folder.name + end) for end in MASK_FOLDER_SUFFIXES]
                masks = next((sibling for sibling in siblings if sibling.is_dir()), folder)
                pair = _image_and_mask_folders(folder) or (folder, masks)
                if self._find_pairs(*pair):
                    by_split[split] = pair
        if "train" in by_split and "val" not in by_split:
            by_split[""] = by_split.pop("train")  # validation images are drawn from train
        if by_split:
            return by_split
        pair = (self.root, self.root)
        return {"": pair} if self._find_pairs(*pair) else {}

    def _find_pairs(self, images: Path, masks: Path) -> list[Item]:
        """Return every image with its mask; a missing mask gets the path where it is expected."""
        mask_suffixes = MASK_SUFFIXES if self.mask_suffix is None else (self.mask_suffix,)
        if images != masks:
            return self._match(_by_stem(images), _by_stem(masks), masks, mask_suffixes)
        jpegs, others = _by_stem(images, JPEG), _by_stem(images, NON_JPEG)
        if jpegs.keys() & others.keys():
            return self._match(jpegs, others, images, [""])  # a.jpg and a.png
        files = jpegs | others
        suffixes = [suffix for suffix in mask_suffixes if suffix != self.image_suffix]
        return self._match(files, files, images, suffixes)

    def _match(
        self,
        images: dict[str, Path],
        masks: dict[str, Path],
        mask_folder: Path,
        suffixes: Sequence[str],
    ) -> list[Item]:
        """Return the items, with the mask suffix that matches the most images.

        Args:
            images: image files by stem.
            masks: mask files by stem; the same object if both kinds are in one folder.
            mask_folder: folder of the masks.
            suffixes: possible suffixes of masks.
        """
        image_suffix = self.image_suffix
        names = [name.removesuffix(image_suffix) for name in images if name.endswith(image_suffix)]
        matches = {suffix: sum(name + suffix in masks for name in names) for suffix in suffixes}
        suffix = max(suffixes, key=lambda suffix: matches[suffix], default="")
        if not matches.get(suffix):
            return []
        if images is masks:  # both kinds of files are in one folder
            names = [name for name in names if not name.endswith(suffix)]
        return [
            Item(
                name,
                images[name + image_suffix],
                masks.get(name + suffix, mask_folder / f"{name}{suffix}.png"),
            )
            for name in names
        ]

    def _draw_val_ids(self, ids: list[str]) -> set[str]:
        """Return the validation ids of a random split; a new image moves few of the others."""
        seed = self.split_seed
        ranked = sorted(ids, key=lambda i: hashlib.sha256(f"{seed} {i}".encode()).digest())
        return set(ranked[: max(1, round(self.val_fraction * len(ids)))])

    def _split_lists(self) -> dict[str, Path]:
        """Return the paths of the split lists, by split."""
        names = {name for names in SPLITS.values() for name in names} | {"trainval"}
        lists: dict[str, Path] = {}
        for folder in LIST_FOLDERS:
            for path in sorted((self.root / folder).glob("*.txt")):
                if path.stem in names:
                    lists.setdefault(path.stem, path)
        return lists

    def _read_list(self, path: Path, split: str) -> list[Item]:
        by_id = {
            item.id: item for pair in self.folders.values() for item in self._find_pairs(*pair)
        }
        by_name = {Path(name).name: item for name, item in by_id.items()}
        items = []
        for line in read_lines(path, split):
            words = re.split(r"[\s,;]+", line)
            if len(words) == 2 and all(Path(w).suffix.lower() in IMAGE_SUFFIXES for w in words):
                image, mask = (self._below_root(word) for word in words)
                items.append(Item(image.stem, image, mask))
                continue
            stem = _stem(line)
            item = by_id.get(stem) or by_name.get(Path(stem).name)
            if item is None:
                raise UserError(
                    f"split {split!r}: {path} names {line!r}, but {self.root} has no such image. "
                    "Add the image or remove the line."
                )
            items.append(item)
        return items

    def _below_root(self, name: str) -> Path:
        """Return the file of a path in a list.

        The path may begin with folders of another machine, such as /SegNet/CamVid.
        """
        parts = Path(name).parts
        if Path(name).is_absolute():
            if Path(name).is_file():
                return Path(name)
            parts = parts[1:]
        tails = [self.root.joinpath(*parts[start:]) for start in range(len(parts))]
        return next((path for path in tails if path.is_file()), tails[0])


def _split_folders(images: Path, masks: Path) -> dict[str, FolderPair]:
    """Return the pair of folders of each split inside two folders, or the two folders for ""."""
    folders = {}
    for split, names in SPLITS.items():
        for name in names:
            if (images / name).is_dir() and (masks / name).is_dir():
                folders[split] = (images / name, masks / name)
    return folders or {"": (images, masks)}


def _image_and_mask_folders(folder: Path) -> FolderPair | None:
    by_name = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_dir()}
    images = next((by_name[name] for name in IMAGE_FOLDERS if name in by_name), None)
    masks = next((by_name[name] for name in MASK_FOLDERS if name in by_name), None)
    return (images, masks) if images and masks else None


def _by_stem(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """Return the files with these suffixes below a folder by their path without suffix, sorted.

    Raises:
        UserError: two files differ only in their suffix.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            stem = _stem(path.relative_to(folder).as_posix())
            if stem in files:
                raise UserError(
                    f"{files[stem]} and {path.name}: two files have the same name. Remove one of "
                    "them, or set data.image_dir and data.mask_dir."
                )
            files[stem] = path
    return files


def _stem(name: str) -> str:
    path = Path(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in IMAGE_SUFFIXES else name
