"""SBD's masks as palette PNGs, and the split ``trainaug``.

The Semantic Boundaries Dataset (Hariharan et al. 2011) labels 11,355 images of VOC 2011 with VOC's
classes: ``cls/ID.mat``, a MATLAB struct ``GTcls`` whose field ``Segmentation`` has 0 to 20 per
pixel, without the 255 along borders of VOC's own masks. Every file is converted; where an image has
both masks, the layout that reads the data set takes VOC's.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from deeplab.data.class_set import Pixels, write_mask
from deeplab.utils.constants import IGNORE
from deeplab.utils.errors import UserError
from deeplab.utils.parallel import parallel_map

LABELS = (*range(21), IGNORE)
"""Background, VOC's 20 classes, ignored."""

FETCH_HINT = "Unpack benchmark.tgz again, or download it again."


def trainaug(voc_train: Sequence[str], voc_val: Sequence[str], sbd: Sequence[str]) -> list[str]:
    """Return VOC train and all of SBD (its train and val) without VOC val, sorted.

    With the official lists these are the 10,582 ids that DeepLab trains on, in their order.
    """
    return sorted({*voc_train, *sbd} - {*voc_val})


def convert_masks(
    mat_folder: Path,
    mask_folder: Path,
    *,
    overwrite: bool = False,
    num_workers: int,
    progress: bool = True,
) -> list[str]:
    """Write a mask ``ID.png`` for every ``ID.mat``.

    Existing masks are kept, unless ``overwrite``.

    Returns:
        The ids of all files, sorted.

    Raises:
        UserError: the folder has none, or one is damaged or not a mask of SBD.
    """
    paths = sorted(mat_folder.glob("*.mat"))
    if not paths:
        raise UserError(
            f"{mat_folder}: no .mat files. It must be SBD's folder of class masks "
            "(benchmark_RELEASE/dataset/cls). Unpack benchmark.tgz."
        )
    remaining = [path for path in paths if overwrite or not _mask_path(path, mask_folder).exists()]
    convert = partial(_convert, mask_folder=mask_folder)
    for _ in parallel_map(
        convert, remaining, num_workers=num_workers, desc="Converting SBD", progress=progress
    ):
        pass
    return [path.stem for path in paths]


def _mask_path(mat_file: Path, mask_folder: Path) -> Path:
    return mask_folder / f"{mat_file.stem}.png"


def _convert(mat_file: Path, mask_folder: Path) -> None:
    write_mask(_mask_path(mat_file, mask_folder), _read(mat_file), flush=False)


def _read(mat_file: Path) -> Pixels:
    """Return the label map ``(H, W)`` of an SBD file."""
    from scipy.io import loadmat

    try:
        content = loadmat(mat_file, variable_names=["GTcls"])
    except Exception as error:  # scipy raises many types for damaged files
        raise UserError(
            f"{mat_file}: this MATLAB file cannot be read ({type(error).__name__}: {error}). "
            f"{FETCH_HINT}"
        ) from None
    try:
        label = np.asarray(content["GTcls"]["Segmentation"].item())
    except (KeyError, IndexError, ValueError):  # no GTcls, no struct, no such field
        raise UserError(f"{mat_file}: has no GTcls.Segmentation. {FETCH_HINT}") from None
    if label.ndim != 2 or not label.size or label.dtype.kind not in "uif":
        raise UserError(
            f"{mat_file}: GTcls.Segmentation is {label.dtype} of shape {label.shape}, but must "
            f"have a number per pixel. {FETCH_HINT}"
        )
    wrong = np.setdiff1d(label, LABELS)
    if wrong.size:
        raise UserError(
            f"{mat_file}: label {wrong[0]:g} in GTcls.Segmentation, but VOC has 0 to 20 "
            f"({IGNORE} = ignore). {FETCH_HINT}"
        )
    return label.astype(np.uint8)
