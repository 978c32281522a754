"""The published data sets: which of their files are wanted, and what is derived from them."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from deeplab.data.layout import Layout
from deeplab.errors import UserError
from deeplab.files import write_text
from deeplab.preparation.coco import rasterise
from deeplab.preparation.sbd import convert_masks, trainaug

VOC_FILES = re.compile(
    r"(?:^|/)(JPEGImages/[^/]+\.jpg|SegmentationClass(?:Aug)?/[^/]+\.png"
    r"|ImageSets/Segmentation/[^/]+\.txt)$"
)
SBD_FILES = re.compile(r"(?:^|/)(cls/[^/]+\.mat)$")
COCO_FILES = re.compile(
    r"(?:^|/)((?:train|val)20\d\d/[^/]+\.jpg|annotations/instances_(?:train|val)20\d\d\.json)$"
)
CITYSCAPES_FILES = re.compile(
    r"(?:^|/)(leftImg8bit/\w+/\w+/\w+_leftImg8bit\.png"
    r"|gt(?:Fine|Coarse)/\w+/\w+/\w+_gt(?:Fine|Coarse)_labelIds\.png)$"
)


def voc_file(name: str) -> str | None:
    """Images, masks and lists of VOC; the masks of SBD, which are converted and then removed."""
    if found := VOC_FILES.search(name):
        return f"VOC2012/{found[1]}"
    return f".sbd/{found[1]}" if (found := SBD_FILES.search(name)) else None


def coco_file(name: str) -> str | None:
    """Images and instances of COCO."""
    return found[1] if (found := COCO_FILES.search(name)) else None


def cityscapes_file(name: str) -> str | None:
    """Left images and label ids of Cityscapes."""
    return found[1] if (found := CITYSCAPES_FILES.search(name)) else None


def derive_voc(root: Path, *, workers: int, progress: bool = True) -> None:
    """SBD's masks as palette PNGs, and the list ``trainaug`` by its rule."""
    voc = root / "VOC2012"
    mats, augmented = root / ".sbd" / "cls", voc / "SegmentationClassAug"
    if mats.is_dir():
        convert_masks(mats, augmented, workers=workers, progress=progress)
    lists = voc / "ImageSets" / "Segmentation"
    if augmented.is_dir():
        train, val = ((lists / f"{split}.txt").read_text().split() for split in ("train", "val"))
        sbd = sorted(path.stem for path in augmented.glob("*.png"))
        write_text(lists / "trainaug.txt", "\n".join(trainaug(train, val, sbd)) + "\n")
    shutil.rmtree(root / ".sbd", ignore_errors=True)


def derive_coco(
    root: Path,
    *,
    annotations: Mapping[str, str],
    category_ids: Sequence[int],
    min_pixels: int,
    workers: int,
    progress: bool = True,
) -> None:
    """Label maps of VOC's classes and a list of the kept images for each split that is there."""
    here = {s: root / file for s, file in annotations.items() if (root / file).is_file()}
    if not here:
        raise UserError(
            f"{root}: none of COCO's annotations is here ({', '.join(annotations.values())})."
        )
    for split, file in here.items():
        kept = rasterise(
            file,
            root / split,
            root / "masks" / split,
            category_ids,
            min_pixels=min_pixels,
            workers=workers,
            progress=progress,
        )
        text = "".join(f"{split}/{image_id}\n" for image_id in kept)
        write_text(root / "lists" / f"{split}.txt", text)


def verify(layout: Layout, *, without_masks: Sequence[str] = ()) -> dict[str, int]:
    """The number of images of each split, all of which have their files.

    Raises:
        UserError: files are missing.
    """
    counts = {}
    for split in layout.splits():
        items = layout.items(split)
        paths = [item.image for item in items]
        if split not in without_masks:
            paths += [item.mask for item in items]
        lost = [path for path in paths if not path.is_file()]
        if lost:
            raise UserError(
                f"split {split!r}: {len(lost)} of its {len(paths)} files are not here, the first: "
                f"{lost[0]}. Is the source whole?"
            )
        counts[split] = len(items)
    return counts
