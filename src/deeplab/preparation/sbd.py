"""SBD's masks as palette PNGs, and the split ``trainaug``.

The Semantic Boundaries Dataset (Hariharan et al. 2011) labels 11,355 images of VOC 2011 with VOC's
classes: ``cls/ID.mat``, a MATLAB struct ``GTcls`` whose field ``Segmentation`` has 0 to 20 per
pixel, without the 255 along borders of VOC's own masks. Every file is converted; that VOC's own
mask is taken where there are both is a matter of reading.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from deeplab.data.class_set import Pixels, write_mask
from deeplab.utils.constants import IGNORE
from deeplab.utils.errors import UserError
from deeplab.utils.parallel import parallel_map

LABELS = (*range(21), IGNORE)
"""Background, VOC's 20 classes, ignored."""

FETCH = "Unpack benchmark.tgz again, or fetch it again."


def trainaug(voc_train: Sequence[str], voc_val: Sequence[str], sbd: Sequence[str]) -> list[str]:
    """VOC train and all of SBD (its train and val) without VOC val, sorted.

    With the official lists these are the 10,582 ids that DeepLab trains on, in their order.
    """
    return sorted({*voc_train, *sbd} - {*voc_val})


def convert_masks(
    mats: Path, masks: Path, *, overwrite: bool = False, num_workers: int, progress: bool = True
) -> list[str]:
    """Write ``masks/ID.png`` for every ``mats/ID.mat``, except (unless ``again``) those that are
    there already.

    Returns:
        The ids of all of them, sorted.

    Raises:
        UserError: there is none, or one is damaged or no mask of SBD.
    """
    paths = sorted(mats.glob("*.mat"))
    if not paths:
        raise UserError(
            f"{mats}: no .mat files here. It is to be SBD's folder of class masks "
            "(benchmark_RELEASE/dataset/cls). Unpack benchmark.tgz."
        )
    todo = [path for path in paths if overwrite or not _png(path, masks).exists()]
    convert = partial(_convert, masks=masks)
    for _ in parallel_map(convert, todo, num_workers=num_workers, desc="Converting SBD", progress=progress):
        pass
    return [path.stem for path in paths]


def _png(mat: Path, masks: Path) -> Path:
    return masks / f"{mat.stem}.png"


def _convert(mat: Path, masks: Path) -> None:
    write_mask(_png(mat, masks), _read(mat))


def _read(mat: Path) -> Pixels:
    """The labels ``(H, W)`` of an SBD file."""
    try:
        content = loadmat(mat, variable_names=["GTcls"])
    except Exception as error:  # damaged files make scipy raise all sorts of them
        raise UserError(
            f"{mat}: this MATLAB file cannot be read ({type(error).__name__}: {error}). {FETCH}"
        ) from None
    try:
        label = np.asarray(content["GTcls"]["Segmentation"].item())
    except (KeyError, IndexError, ValueError):  # no GTcls, no struct, no such field
        raise UserError(f"{mat}: there is no GTcls.Segmentation in it. {FETCH}") from None
    if label.ndim != 2 or not label.size or label.dtype.kind not in "uif":
        raise UserError(
            f"{mat}: GTcls.Segmentation is {label.dtype} of shape {label.shape}, but it is to have "
            f"a number per pixel. {FETCH}"
        )
    wrong = np.setdiff1d(label, LABELS)
    if wrong.size:
        raise UserError(
            f"{mat}: label {wrong[0]:g} in GTcls.Segmentation, but VOC has 0 to 20 "
            f"({IGNORE} = ignore). {FETCH}"
        )
    return label.astype(np.uint8)
