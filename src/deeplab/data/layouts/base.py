"""Layouts, which find the images and masks of each split.

A layout lists its splits and the items of each. PASCAL VOC and COCO (after ``prepare.py``) are
lists of ids with fixed folders: two instances of one class.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from deeplab.utils.errors import UserError

PREPARING = ".preparing"
"""Name of the marker file in the root of a data set whose preparation is not finished."""


class Item(NamedTuple):
    """An image and its mask."""

    id: str
    image: Path
    mask: Path


class Layout(Protocol):
    """Interface between a data set and its folder."""

    root: Path

    def splits(self) -> list[str]:
        """Return the names of the available splits."""
        ...

    def items(self, split: str) -> list[Item]:
        """Return the items of a split, always in the same order.

        Raises:
            UserError: there is no such split, or it is empty.
        """
        ...


def split_items(layout: Layout, split: str) -> list[Item]:
    """Return the items of a split, or of several joined by ``+``."""
    return [item for name in split.split("+") for item in layout.items(name)]


def fingerprint(items: Sequence[Item]) -> str:
    """Return a hash of the ids, their order, and the sizes of their files."""
    lines = [f"{i.id} {_bytes(i.image)} {_bytes(i.mask)}" for i in items]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _bytes(path: Path) -> int:
    """Return a file's size, or -1 if it is missing, which is reported when it is read."""
    return path.stat().st_size if path.is_file() else -1


class SplitListLayout:
    """Layout with a list of ids for each split, and paths that follow from an id.

    Args:
        root: the folder, or a folder that holds it at one of ``subfolders``.
        subfolders: possible locations of the data set below ``root``.
        lists: folder of the lists.
        image: path of an image, with ``{}`` for its id.
        masks: possible paths of its mask; the first that exists is used.
        description: the layout in words, for messages.

    Raises:
        UserError: ``root`` is missing or has another layout.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        subfolders: tuple[str, ...] = ("",),
        lists: str,
        image: str,
        masks: tuple[str, ...],
        description: str,
    ) -> None:
        root = Path(root).expanduser()
        roots = [root / folder for folder in subfolders if (root / folder / lists).is_dir()]
        if not roots:
            state = f"has no {lists}" if root.is_dir() else "does not exist"
            raise UserError(
                f"data.root={root}: this folder {state}. Set data.root to a folder that holds "
                f"{description}, or create it with python src/prepare.py."
            )
        self.root, self.lists = roots[0], roots[0] / lists
        self.image, self.masks = image, masks

    def splits(self) -> list[str]:
        return sorted(p.stem for p in self.lists.glob("*.txt"))

    def items(self, split: str) -> list[Item]:
        ids = read_list(self.lists / f"{split}.txt", split, self.splits())
        return [Item(i, self.root / self.image.format(i), self._mask(i)) for i in ids]

    def _mask(self, image_id: str) -> Path:
        candidates = [self.root / pattern.format(image_id) for pattern in self.masks]
        if len(candidates) == 1:
            return candidates[0]
        return next((path for path in candidates if path.exists()), candidates[0])


def voc_layout(root: str | Path) -> SplitListLayout:
    """Return the PASCAL VOC segmentation layout.

        JPEGImages/ID.jpg
        SegmentationClass/ID.png       palette or gray PNG of class indices, 255 = ignore
        SegmentationClassAug/ID.png    masks of images without one in SegmentationClass (SBD)
        ImageSets/Segmentation/SPLIT.txt

    Departures from the authors' preparation: VOC's masks are not rewritten (the authors remove the
    color map first; here the indices are read directly from the palette PNG), and if both folders
    have a mask, the official one is used.
    """
    return SplitListLayout(
        root,
        subfolders=("", "VOC2012", "VOCdevkit/VOC2012"),
        lists="ImageSets/Segmentation",
        image="JPEGImages/{}.jpg",
        masks=("SegmentationClass/{}.png", "SegmentationClassAug/{}.png"),
        description=(
            "the VOC layout (JPEGImages, SegmentationClass, ImageSets/Segmentation), directly or "
            "in VOCdevkit/VOC2012"
        ),
    )


def coco_layout(root: str | Path) -> SplitListLayout:
    """Return the layout of COCO after ``prepare.py``.

    Ids are like ``train2017/000000000009``. The image is at ``ID.jpg``, its mask of VOC's classes
    at ``masks/ID.png``.
    """
    return SplitListLayout(
        root,
        lists="lists",
        image="{}.jpg",
        masks=("masks/{}.png",),
        description="COCO with masks of VOC's classes (masks, lists)",
    )


def check_complete(root: Path) -> None:
    """Raise UserError if ``prepare.py`` has started on a folder and has not finished."""
    if any((folder / PREPARING).exists() for folder in (root, *root.absolute().parents[:2])):
        raise UserError(
            f"data.root={root}: this data set is incomplete: its preparation is in progress or was "
            "interrupted. Wait for it to finish, or run the same python src/prepare.py command "
            "again, which resumes it."
        )


def read_list(path: Path, split: str, splits: list[str]) -> list[str]:
    """Return the first word of each line of a split list.

    Raises:
        UserError: there is no such list, it cannot be read, or it is empty.
    """
    if not path.is_file():
        raise UserError(
            f"split {split!r}: {path} does not exist. Available splits: {', '.join(splits)}."
        )
    return [line.split()[0] for line in read_lines(path, split)]


def read_lines(path: Path, split: str) -> list[str]:
    """Return the lines of a split list that are not empty.

    Raises:
        UserError: the list cannot be read, or it is empty.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"split {split!r}: {path} cannot be read ({error}). Check the file and its permissions."
        ) from None
    if not lines:
        raise UserError(f"split {split!r}: {path} lists no images. Add their ids, one per line.")
    return lines
