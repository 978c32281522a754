"""What is made of the published files: masks and lists."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from deeplab.preparation.coco import rasterize
from deeplab.preparation.file_selection import SBD, voc_folder
from deeplab.preparation.sbd import convert_masks, trainaug
from deeplab.utils.files import write_json, write_text


def derive_voc(root: Path, *, overwrite: bool, num_workers: int, progress: bool = True) -> None:
    """SBD's masks as palette PNGs, and the list ``trainaug`` by its rule if VOC's lists are here.

    With ``again`` masks that are there are not trusted.
    """
    voc = voc_folder(root)
    mats, augmented = root / SBD / "cls", voc / "SegmentationClassAug"
    if mats.is_dir():
        convert_masks(
            mats, augmented, overwrite=overwrite, num_workers=num_workers, progress=progress
        )
    lists = voc / "ImageSets" / "Segmentation"
    train, val = lists / "train.txt", lists / "val.txt"
    if augmented.is_dir() and train.is_file() and val.is_file():
        sbd = sorted(path.stem for path in augmented.glob("*.png"))
        ids = trainaug(train.read_text().split(), val.read_text().split(), sbd)
        write_text(lists / "trainaug.txt", "\n".join(ids) + "\n")
    shutil.rmtree(root / SBD, ignore_errors=True)


def derive_coco(
    root: Path,
    *,
    annotations: Mapping[str, str],
    category_ids: Sequence[int],
    min_pixels: int,
    overwrite: bool,
    num_workers: int,
    progress: bool = True,
) -> None:
    """Label maps of VOC's classes and a list of the kept images for each split that is here.

    With ``again``, or where they were drawn by other rules, masks that are there are not trusted.
    """
    for split, name in annotations.items():
        file, images, masks = root / name, root / split, root / "masks" / split
        if not file.is_file() or not images.is_dir():
            print(f"{split} is left out: {file if images.is_dir() else images} is not here.")
            continue
        rules = {**_rules(category_ids, min_pixels), "annotations": _checksum(file)}
        if overwrite or _read(_rules_file(root, split)) != rules:
            for image in images.glob("*.jpg") if masks.is_dir() else ():
                (masks / f"{image.stem}.png").unlink(missing_ok=True)
            write_json(_rules_file(root, split), rules)
        kept = rasterize(
            file,
            images,
            masks,
            category_ids,
            min_pixels=min_pixels,
            num_workers=num_workers,
            progress=progress,
        )
        text = "".join(f"{split}/{image_id}\n" for image_id in kept)
        write_text(root / "lists" / f"{split}.txt", text)


def is_drawn_by(
    root: Path, splits: Sequence[str], category_ids: Sequence[int], min_pixels: int
) -> bool:
    """Whether COCO's masks of these splits were drawn by these rules."""
    rules = _rules(category_ids, min_pixels).items()
    return all(rules <= _read(_rules_file(root, split)).items() for split in splits)


def _rules(category_ids: Sequence[int], min_pixels: int) -> dict[str, object]:
    return {"category_ids": list(category_ids), "min_pixels": min_pixels}


def _rules_file(root: Path, split: str) -> Path:
    return root / "masks" / f"{split}.json"


def _read(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
