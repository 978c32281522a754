"""Accuracy of a label map near object borders.

* Bands (the paper's trimap, section 4.4 and Figure 5): the labeled pixels within a distance of the
  ignored pixels (255), which VOC draws around every object. The paper states neither the widths nor
  the structuring element; here the distance is Euclidean, to the nearest pixel of value 255.
* Boundary F-score (Csurka et al. 2013; computed as by Perazzi et al. 2016): F-score of the contour
  pixels of a class, where a pixel is correct if the other map has a contour pixel of the class
  within 0.75 % of the image's diagonal.
* Boundary IoU (Cheng et al. 2021): IoU of the pixels of a class that lie within 2 % of the diagonal
  of the class's contour in the same map, by chessboard distance; the image's edges are contours.

For the latter two, ignored pixels belong to no class in either map, as is common practice.
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
"""Tolerance of the boundary F-score, as a fraction of the image's diagonal."""

IOU_WIDTH = 0.02
"""Width of the bands of boundary IoU, as a fraction of the image's diagonal."""

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
"""Structuring element of the four direct neighbors."""


def band_indices(truth: Pixels, widths: Sequence[float]) -> NDArray[np.intp] | None:
    """Return for each pixel the index of the narrowest band that contains it.

    Args:
        truth: the label map ``(H, W)``.
        widths: widths of the bands in pixels, in ascending order.

    Returns:
        ``(H, W)``, with ``len(widths)`` for pixels outside all bands; None if no pixel is ignored.
    """
    valid = (truth != IGNORE).astype(np.uint8)
    if valid.all():
        return None
    distance = cv2.distanceTransform(valid, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.searchsorted(np.asarray(widths, np.float32), distance)


def diagonal(label_map: Pixels) -> float:
    """Return the length of an image's diagonal in pixels."""
    return float(np.hypot(*label_map.shape))


class Outline:
    """The contour of one class in a label map.

    Args:
        mask: ``(H, W)``, 1 for the pixels of the class, else 0.
    """

    def __init__(self, mask: Pixels) -> None:
        self.mask = mask

    @cached_property
    def contour(self) -> NDArray[np.bool_]:
        """Pixels of the class with a direct neighbor that is not (above, below, left, right)."""
        # pixels outside the image count as the class, so the image's edges are not contours
        inside = cv2.erode(self.mask, CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        return (self.mask > 0) & (inside == 0)

    @cached_property
    def distance(self) -> NDArray[np.float32]:
        """Euclidean distance of each pixel to the contour; infinite without a contour."""
        if not self.contour.any():
            return np.full(self.mask.shape, np.inf, np.float32)
        outside = (~self.contour).astype(np.uint8)
        distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(distance, np.float32)

    def inner_band(self, width: int) -> NDArray[np.bool_]:
        """Return the pixels of the class within ``width`` of its border or the image's edges."""
        padded = cv2.copyMakeBorder(self.mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        depth = cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]
        return (depth > 0) & (depth <= width)


class BoundaryScore(NamedTuple):
    """Boundary scores of one class in one image."""

    f_score: float
    """F-score of the contours; nan if neither map has one."""
    intersection: int
    """Pixels in the inner bands of both maps."""
    union: int
    """Pixels in the inner band of either map."""


def class_outlines(label_map: Pixels, classes: Sequence[int]) -> dict[int, Outline]:
    """Return the outlines of the given classes in a label map ``(H, W)``."""
    return {k: Outline((label_map == k).astype(np.uint8)) for k in classes}


def score_boundary(truth: Outline, prediction: Outline) -> BoundaryScore:
    """Return boundary F-score and boundary IoU of one class."""
    size = diagonal(truth.mask)
    width = max(1, round(IOU_WIDTH * size))
    predicted_band, true_band = prediction.inner_band(width), truth.inner_band(width)
    return BoundaryScore(
        f_score=_f_score(truth, prediction, F_TOLERANCE * size),
        intersection=int((predicted_band & true_band).sum()),
        union=int((predicted_band | true_band).sum()),
    )


def _f_score(truth: Outline, prediction: Outline, tolerance: float) -> float:
    if not truth.contour.any() and not prediction.contour.any():
        return float("nan")
    precision = _fraction_within(prediction.contour, truth.distance, tolerance)
    recall = _fraction_within(truth.contour, prediction.distance, tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _fraction_within(
    contour: NDArray[np.bool_], distance: NDArray[np.float32], tolerance: float
) -> float:
    """Return the fraction of contour pixels within the tolerance; 0 for an empty contour."""
    return float((distance[contour] <= tolerance).mean()) if contour.any() else 0.0
