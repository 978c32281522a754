"""The published data sets: which of their files are wanted, and where they go."""

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from deeplab.data.layouts.base import Layout
from deeplab.utils.errors import UserError

Select = Callable[[str], str | None]
"""A file's path to its path in the prepared folder; None leaves it out."""

FILES: dict[str, dict[str, str]] = {
    "voc": {
        "trainval": (
            r"SegmentationClass/[^/]+\.png|ImageSets/Segmentation/(?:train|val|trainval)\.txt"
        ),
        "test": r"ImageSets/Segmentation/test\.txt",
        "sbd": r"cls/[^/]+\.mat|SegmentationClassAug/[^/]+\.png",
    },
    "coco": {
        **{
            f"{split}{year}": rf"{split}{year}/[^/]+\.jpg"
            for split in ("train", "val")
            for year in (2014, 2017)
        },
        **{
            f"annotations{year}": rf"annotations/instances_(?:train|val){year}\.json"
            for year in (2014, 2017)
        },
    },
    "cityscapes": {
        "leftImg8bit_trainvaltest": (
            r"leftImg8bit/(?:train|val|test)/[^/]+/[^/]+_leftImg8bit\.png"
        ),
        "gtFine_trainvaltest": r"gtFine/(?:train|val|test)/[^/]+/[^/]+_gtFine_labelIds\.png",
        "leftImg8bit_trainextra": r"leftImg8bit/train_extra/[^/]+/[^/]+_leftImg8bit\.png",
        "gtCoarse": r"gtCoarse/[^/]+/[^/]+/[^/]+_gtCoarse_labelIds\.png",
    },
}
"""By layout and part: the files by which the part is known, all of which are wanted."""

SHARED = {"voc": r"JPEGImages/[^/]+\.jpg"}
"""Files that are wanted whatever the part."""

OTHERS = {"voc": r"SegmentationClass(?:Aug)?/[^/]+\.png|ImageSets/Segmentation/[^/]+\.txt"}
"""What is wanted of a part that is not listed: an archive of another data set in this layout."""

OTHER_YEAR = re.compile(r"(?:^|/)VOC20(?!12/)\d\d/")
"""A VOCdevkit may have several years side by side."""

VOC_SPLITS = ("train", "val", "trainval", "trainaug", "test")

UNLABELED = ("test",)
"""Splits whose masks their makers keep."""

SBD = ".sbd"
"""Where SBD's own files are until they are converted."""


def selection(kind: str, parts: Collection[str], root: Path) -> Select:
    """Which files of these parts are wanted, and where below ``root`` they go.

    Args:
        kind: the layout, ``voc``, ``coco`` or ``cityscapes``.
        parts: names of archives.
        root: the folder that is prepared.
    """
    patterns = [FILES[kind].get(part, OTHERS.get(kind, "")) for part in parts]
    shared = [SHARED[kind]] if kind in SHARED else []
    wanted = re.compile(rf"(?:^|/)({'|'.join([*filter(None, patterns), *shared])})$")
    start = f"{voc_folder(root).relative_to(root).as_posix()}/".removeprefix("./")

    def select(name: str) -> str | None:
        found = wanted.search(name)
        if found is None or kind != "voc":
            return found and found[1]
        if OTHER_YEAR.search(name):
            return None
        return f"{SBD}/{found[1]}" if found[1].startswith("cls/") else start + found[1]

    return select


def voc_folder(root: Path) -> Path:
    """Where VOC's folders are below a root, or are going to be."""
    places = (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012")  # as voc_layout looks
    found = (place for place in places if (place / "ImageSets" / "Segmentation").is_dir())
    return next(found, root / "VOC2012")


def parts_of(kind: str, names: Iterable[str]) -> set[str]:
    """The parts that some of these files are known to be from."""
    left = {part: re.compile(rf"(?:^|/)(?:{pattern})$") for part, pattern in FILES[kind].items()}
    found = set()
    for name in names:
        if now := {part for part, pattern in left.items() if pattern.search(name)}:
            found |= now
            left = {part: pattern for part, pattern in left.items() if part not in now}
    return found


def verify(layout: Layout, splits: Iterable[str]) -> dict[str, int]:
    """The number of images of each split, all of which have their files.

    Raises:
        UserError: files are missing.
    """
    counts = {}
    for split in splits:
        items = layout.items(split)
        paths = [item.image for item in items]
        if split not in UNLABELED:
            paths += [item.mask for item in items]
        lost = [path for path in paths if not path.is_file()]
        if lost:
            raise UserError(
                f"split {split!r}: {len(lost)} of its {len(paths)} files are not here, the first: "
                f"{lost[0]}. If what made the split was interrupted, run it again with the same "
                "parts; otherwise see whether its source is whole."
            )
        counts[split] = len(items)
    return counts
