"""Where the images and masks of a split are.

A layout lists its splits and the items of each. PASCAL VOC and COCO (as it is prepared) are lists
of ids with fixed folders: two values of one class.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from deeplab.utils.errors import UserError

PREPARING = ".preparing"
"""A file in the root of a data set that is not whole yet."""


class Item(NamedTuple):
    """An image and its mask."""

    id: str
    image: Path
    mask: Path


class Layout(Protocol):
    """What a data set needs to know of a folder."""

    root: Path

    def splits(self) -> list[str]:
        """The names of the splits that are there."""
        ...

    def items(self, split: str) -> list[Item]:
        """The images of a split, always in the same order.

        Raises:
            UserError: there is no such split, or nothing in it.
        """
        ...


def split_items(layout: Layout, split: str) -> list[Item]:
    """The items of a split, or of several joined by ``+``."""
    return [item for name in split.split("+") for item in layout.items(name)]


def fingerprint(items: Sequence[Item]) -> str:
    """Changes with the ids, their order, and the sizes of their files."""
    lines = [f"{i.id} {_bytes(i.image)} {_bytes(i.mask)}" for i in items]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _bytes(path: Path) -> int:
    """A file's size; -1 if it is missing, which is found when it is read."""
    return path.stat().st_size if path.is_file() else -1


class ListedLayout:
    """Lists of ids, one file a split, and a place for each id.

    Args:
        root: the folder; or one that has it at one of ``inside``.
        inside: where below ``root`` the folder may begin.
        lists: folder of the lists.
        image: path of an image, ``{}`` standing for its id.
        masks: paths of its mask; the first that exists counts.
        what: the layout in words, for messages.

    Raises:
        UserError: ``root`` is missing or has no such layout.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        inside: tuple[str, ...] = ("",),
        lists: str,
        image: str,
        masks: tuple[str, ...],
        what: str,
    ) -> None:
        root = Path(root).expanduser()
        found = [root / start for start in inside if (root / start / lists).is_dir()]
        if not found:
            state = f"has no {lists}" if root.is_dir() else "does not exist"
            raise UserError(
                f"data.root={root}: this folder {state}. It is to hold {what}; "
                f"python src/prepare.py makes it."
            )
        self.root, self.lists = found[0], found[0] / lists
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


def voc_layout(root: str | Path) -> ListedLayout:
    """The PASCAL VOC segmentation layout.

        JPEGImages/ID.jpg
        SegmentationClass/ID.png       palette or gray PNG of class indices, 255 = ignore
        SegmentationClassAug/ID.png    masks of images that SegmentationClass lacks (SBD)
        ImageSets/Segmentation/SPLIT.txt

    Departures from the authors' preparation: none of VOC's masks is rewritten (theirs strips the
    color map first; here the indices are read straight from the palette PNG), and where both
    folders have a mask the official one is taken.
    """
    return ListedLayout(
        root,
        inside=("", "VOC2012", "VOCdevkit/VOC2012"),
        lists="ImageSets/Segmentation",
        image="JPEGImages/{}.jpg",
        masks=("SegmentationClass/{}.png", "SegmentationClassAug/{}.png"),
        what=(
            "the VOC layout (JPEGImages, SegmentationClass, ImageSets/Segmentation), itself or in "
            "VOCdevkit/VOC2012"
        ),
    )


def coco_layout(root: str | Path) -> ListedLayout:
    """COCO as ``prepare.py`` leaves it: ids such as ``train2017/000000000009``, the image at
    ``ID.jpg``, its mask of VOC's classes at ``masks/ID.png``."""
    return ListedLayout(
        root,
        lists="lists",
        image="{}.jpg",
        masks=("masks/{}.png",),
        what="COCO with masks of VOC's classes (masks, lists)",
    )


def check_whole(root: Path) -> None:
    """Raise UserError if ``prepare.py`` has begun with a folder and not finished."""
    if any((folder / PREPARING).exists() for folder in (root, *root.absolute().parents[:2])):
        raise UserError(
            f"data.root={root}: this data set is not whole: its preparation is in progress or was "
            "interrupted. Let it end, or run the same python src/prepare.py again, which goes on."
        )


def read_list(path: Path, split: str, splits: list[str]) -> list[str]:
    """The first word of each line of a split list.

    Raises:
        UserError: there is no such list, it cannot be read, or it is empty.
    """
    if not path.is_file():
        here = ", ".join(splits)
        raise UserError(f"split {split!r}: {path} does not exist. Splits here: {here}.")
    return [line.split()[0] for line in read_lines(path, split)]


def read_lines(path: Path, split: str) -> list[str]:
    """The lines of a split list that are not empty; raises UserError as ``read_list`` does."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"split {split!r}: {path} cannot be read ({error}).") from None
    if not lines:
        raise UserError(f"split {split!r}: {path} lists no image.")
    return lines
