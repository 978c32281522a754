"""The files of the published data sets that are used, and their paths in the prepared folder."""

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from deeplab.data.layouts.base import Layout
from deeplab.data.layouts.voc import VOCFolder
from deeplab.data.split_error import SplitError

Select = Callable[[str], str | None]
"""A map from a file's path to its path in the prepared folder, or to None to skip it."""

PART_FILES: dict[str, dict[str, str]] = {
    "voc": {
        "trainval": (
            r"SegmentationClass/[^/]+\.png|ImageSets/Segmentation/(?:train|val|trainval)\.txt"
        ),
        "test": r"ImageSets/Segmentation/test\.txt",
        "sbd": r"cls/[^/]+\.mat|SegmentationClassAug/[^/]+\.png",
    },
    "coco": {
        "train2017": r"train2017/[^/]+\.jpg",
        "val2017": r"val2017/[^/]+\.jpg",
        "annotations2017": r"annotations/instances_(?:train|val)2017\.json",
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
"""By layout and part, the pattern of the files that identify the part; all of them are used."""

SHARED_FILES = {"voc": r"JPEGImages/[^/]+\.jpg"}
"""By layout, the pattern of files that are used whatever the part."""

FALLBACK_FILES = {"voc": r"SegmentationClass(?:Aug)?/[^/]+\.png|ImageSets/Segmentation/[^/]+\.txt"}
"""By layout, the pattern for parts that are not listed: archives of other data sets in it."""

OTHER_YEAR = re.compile(r"(?:^|/)VOC20(?!12/)\d\d/")
"""Paths of other years than 2012, since a VOCdevkit may have several side by side."""

VOC_SPLITS = ("train", "val", "trainval", "trainaug", "test")

SPLITS_WITHOUT_MASKS = ("test",)
"""Splits whose masks are not published."""

SBD_FOLDER = ".sbd"
"""Folder of SBD's original files until they are converted."""


def file_selector(layout: str, parts: Collection[str], root: Path) -> Select:
    """Return the function that selects the files of these parts and maps them to paths.

    Args:
        layout: ``voc``, ``coco`` or ``cityscapes``.
        parts: names of archives.
        root: the folder that is prepared; the paths are relative to it.
    """
    patterns = [PART_FILES[layout].get(part, FALLBACK_FILES.get(layout, "")) for part in parts]
    shared = [SHARED_FILES[layout]] if layout in SHARED_FILES else []
    used = re.compile(rf"(?:^|/)({'|'.join([*filter(None, patterns), *shared])})$")
    prefix = f"{voc_folder(root).relative_to(root).as_posix()}/".removeprefix("./")

    def select(name: str) -> str | None:
        match = used.search(name)
        if match is None or layout != "voc":
            return match and match[1]
        if OTHER_YEAR.search(name):
            return None
        return f"{SBD_FOLDER}/{match[1]}" if match[1].startswith("cls/") else prefix + match[1]

    return select


def voc_folder(root: Path) -> Path:
    """Return the existing folder of VOC 2012 below a root, or the one to create."""
    candidates = (root / folder for folder in VOCFolder.subfolders)
    existing = (path for path in candidates if (path / VOCFolder.lists).is_dir())
    return next(existing, root / "VOC2012")


def detect_parts(layout: str, names: Iterable[str]) -> set[str]:
    """Return the parts that these file names identify."""
    remaining = {
        part: re.compile(rf"(?:^|/)(?:{pattern})$") for part, pattern in PART_FILES[layout].items()
    }
    detected = set()
    for name in names:
        if matching := {part for part, pattern in remaining.items() if pattern.search(name)}:
            detected |= matching
            remaining = {
                part: pattern for part, pattern in remaining.items() if part not in matching
            }
    return detected


def verify(layout: Layout, splits: Iterable[str]) -> dict[str, int]:
    """Check that all files of the splits exist; return the number of images of each split.

    Raises:
        UserError: files are missing.
    """
    counts = {}
    for split in splits:
        items = layout.items(split)
        paths = [item.image for item in items]
        if split not in SPLITS_WITHOUT_MASKS:
            paths += [item.mask for item in items]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise SplitError(
                split,
                f"{len(missing)} of its {len(paths)} files are missing, the first: "
                f"{missing[0]}. If the preparation of this split was interrupted, run it "
                "again with the same parts; otherwise check that its source is complete.",
            )
        counts[split] = len(items)
    return counts
