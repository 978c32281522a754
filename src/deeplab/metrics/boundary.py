"""How right a label map is near object borders.

* Bands (the paper's trimap, section 4.4 and Figure 5): the labeled pixels within a distance of
  those labeled 255, which VOC draws around every object. The paper says neither the widths nor the
  structuring element; here the distance is Euclidean, to the nearest pixel of value 255.
* Boundary F-score (Csurka et al. 2013; as Perazzi et al. 2016 compute it): contour pixels of a
  class that have one of the other map within 0.75 % of the image's diagonal.
* Boundary IoU (Cheng et al. 2021): IoU of the pixels of a class that lie within 2 % of the diagonal
  of its own contour, by chessboard distance; the image's edges are contours.

For the latter two, pixels labeled 255 belong to no class in either map, as is the field's use.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab.utils.constants import IGNORE

Pixels = NDArray[np.uint8]

F_TOLERANCE = 0.0075
IOU_WIDTH = 0.02
"""Both as parts of the image's diagonal."""

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def band_of(truth: Pixels, widths: Sequence[float]) -> NDArray[np.intp] | None:
    """For each pixel ``(H, W)`` the index of the narrowest band that it is in, ``len(widths)``
    outside all; None without a pixel labeled 255.

    Args:
        truth: labels.
        widths: of the bands, in pixels, rising.
    """
    labeled = (truth != IGNORE).astype(np.uint8)
    if labeled.all():
        return None
    distance = cv2.distanceTransform(labeled, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.searchsorted(np.asarray(widths, np.float32), distance)


def diagonal(label: Pixels) -> float:
    """Of an image, in pixels."""
    return float(np.hypot(*label.shape))


class Outline:
    """The contour of one class in a label map.

    Args:
        mask: where the class is, ``(H, W)`` of 0 and 1.
    """

    def __init__(self, mask: Pixels) -> None:
        self.mask = mask

    @cached_property
    def contour(self) -> NDArray[np.bool_]:
        """Pixels of the class beside one that is not (above, below, left or right)."""
        # beyond the edges everything is of the class
        inside = cv2.erode(self.mask, CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        return (self.mask > 0) & (inside == 0)

    @cached_property
    def distance(self) -> NDArray[np.float32]:
        """Of each pixel to the contour, Euclidean; infinite without one."""
        if not self.contour.any():
            return np.full(self.mask.shape, np.inf, np.float32)
        away = (~self.contour).astype(np.uint8)
        found = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(found, np.float32)

    def inner(self, width: int) -> NDArray[np.bool_]:
        """Pixels of the class within ``width`` of its border or of the image's."""
        padded = cv2.copyMakeBorder(self.mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        depth = cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]
        return (depth > 0) & (depth <= width)


class BoundaryScore(NamedTuple):
    """Of one class in one image."""

    f: float
    """F-score of the contours; nan where neither map has one."""
    intersection: int
    union: int
    """Pixels of the inner bands."""


def outlines(label: Pixels, classes: Sequence[int]) -> dict[int, Outline]:
    """The contours of some classes in a label map ``(H, W)``."""
    return {k: Outline((label == k).astype(np.uint8)) for k in classes}


def compare(truth: Outline, prediction: Outline) -> BoundaryScore:
    """Boundary F-score and boundary IoU of one class."""
    size = diagonal(truth.mask)
    width = max(1, round(IOU_WIDTH * size))
    ours, theirs = prediction.inner(width), truth.inner(width)
    return BoundaryScore(
        f=_f_score(truth, prediction, F_TOLERANCE * size),
        intersection=int((ours & theirs).sum()),
        union=int((ours | theirs).sum()),
    )


def _f_score(truth: Outline, prediction: Outline, tolerance: float) -> float:
    if not truth.contour.any() and not prediction.contour.any():
        return float("nan")
    precision = _part_within(prediction.contour, truth.distance, tolerance)
    recall = _part_within(truth.contour, prediction.distance, tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _part_within(
    contour: NDArray[np.bool_], distance: NDArray[np.float32], tolerance: float
) -> float:
    """The part of the contour's pixels that lie so near to the other one; 0 of none."""
    return float((distance[contour] <= tolerance).mean()) if contour.any() else 0.0
