"""Masks and split lists derived from the published files."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from deeplab.data.layouts.voc import VOCFolder
from deeplab.preparation.coco_masks import rasterize
from deeplab.preparation.file_selection import SBD_FOLDER, voc_folder
from deeplab.preparation.sbd_masks import convert_masks, trainaug
from deeplab.utils.files import file_hash, write_json, write_text


def make_voc_masks(root: Path, *, overwrite: bool, num_workers: int, progress: bool = True) -> None:
    """Convert SBD's masks to palette PNGs, and write the list ``trainaug`` if VOC's lists exist.

    With ``overwrite`` existing masks are replaced.
    """
    voc = voc_folder(root)
    mat_folder, mask_folder = root / SBD_FOLDER / "cls", voc / "SegmentationClassAug"
    if mat_folder.is_dir():
        convert_masks(
            mat_folder, mask_folder, overwrite=overwrite, num_workers=num_workers, progress=progress
        )
    lists = voc / VOCFolder.lists
    train, val = lists / "train.txt", lists / "val.txt"
    if mask_folder.is_dir() and train.is_file() and val.is_file():
        sbd = sorted(path.stem for path in mask_folder.glob("*.png"))
        ids = trainaug(train.read_text().split(), val.read_text().split(), sbd)
        write_text(lists / "trainaug.txt", "\n".join(ids) + "\n")
    shutil.rmtree(root / SBD_FOLDER, ignore_errors=True)


def make_coco_masks(
    root: Path,
    *,
    annotations: Mapping[str, str],
    category_ids: Sequence[int],
    min_pixels: int,
    overwrite: bool,
    num_workers: int,
    progress: bool = True,
) -> None:
    """Draw label maps of VOC's classes and list the kept images, for each split with its files.

    With ``overwrite``, or if they were drawn with other settings, existing masks are replaced.
    """
    for split, name in annotations.items():
        annotation_file, image_folder = root / name, root / split
        if not annotation_file.is_file() or not image_folder.is_dir():
            missing = annotation_file if image_folder.is_dir() else image_folder
            print(f"{split}: skipped, since {missing} does not exist.")
            continue
        mask_folder = root / "masks" / split
        settings = {
            **_mask_settings(category_ids, min_pixels),
            "annotations": file_hash(annotation_file),
        }
        if overwrite or _read(_settings_file(root, split)) != settings:
            for image in image_folder.glob("*.jpg") if mask_folder.is_dir() else ():
                (mask_folder / f"{image.stem}.png").unlink(missing_ok=True)
            write_json(_settings_file(root, split), settings)
        kept = rasterize(
            annotation_file,
            image_folder,
            mask_folder,
            category_ids,
            min_pixels=min_pixels,
            num_workers=num_workers,
            progress=progress,
        )
        text = "".join(f"{split}/{image_id}\n" for image_id in kept)
        write_text(root / "lists" / f"{split}.txt", text)


def masks_match_settings(
    root: Path, splits: Sequence[str], category_ids: Sequence[int], min_pixels: int
) -> bool:
    """Return True if COCO's masks of these splits were drawn with these settings."""
    settings = _mask_settings(category_ids, min_pixels).items()
    return all(settings <= _read(_settings_file(root, split)).items() for split in splits)


def _mask_settings(category_ids: Sequence[int], min_pixels: int) -> dict[str, object]:
    return {"category_ids": list(category_ids), "min_pixels": min_pixels}


def _settings_file(root: Path, split: str) -> Path:
    return root / "masks" / f"{split}.json"


def _read(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}
