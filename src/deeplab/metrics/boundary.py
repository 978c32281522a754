"""Accuracy of a label map near object borders.

* Bands (the paper's trimap, section 4.4 and Figure 5): the labeled pixels within a distance of the
  ignored pixels (255, "void"), which VOC draws around every object. The paper states neither the
  widths nor the structuring element; here the distance is Euclidean, to the nearest pixel of value
  255. Where a data set has no such borders, which is the case for most (and 255 may then be
  anywhere), the distance is that to the nearest border between two classes.
* Boundary F-score (Csurka et al. 2013; computed as by Perazzi et al. 2016): F-score of the contour
  pixels of a class, where a pixel is correct if the other map has a contour pixel of the class
  within 0.75 % of the image's diagonal.
* Boundary IoU (Cheng et al. 2021): IoU of the pixels of a class that lie within 2 % of the diagonal
  of the class's contour in the same map, by chessboard distance; the image's edges are contours.

For the latter two, ignored pixels belong to no class in either map, as is common practice.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab.metrics.definitions import Bands
from deeplab.utils.constants import IGNORE

Pixels = NDArray[np.uint8]

F_TOLERANCE = 0.0075
"""Tolerance of the boundary F-score, as a fraction of the image's diagonal."""

IOU_WIDTH = 0.02
"""Width of the bands of boundary IoU, as a fraction of the image's diagonal."""

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
"""Structuring element of the four direct neighbors."""


MAX_DIRECT_BORDERS = 0.1
"""Pairs of neighbors of two classes, per pair of a labeled and an ignored pixel, up to which
ignored pixels lie along the borders; 0.002 on VOC."""

MAX_VOID_PIXELS = 10
"""Ignored pixels per such pair up to which they are borders, not areas; 2.6 on VOC."""


def find_bands(label_maps: Iterable[Pixels]) -> Bands:
    """Return ``void`` if ignored pixels lie along the borders of classes in these label maps."""
    direct = void = ignored = 0
    for label_map in label_maps:
        ignored += int((label_map == IGNORE).sum())
        for one, other in ((label_map[1:], label_map[:-1]), (label_map[:, 1:], label_map[:, :-1])):
            num_void = int(((one == IGNORE) != (other == IGNORE)).sum())
            void += num_void
            direct += int((one != other).sum()) - num_void
    is_void = void and direct <= MAX_DIRECT_BORDERS * void and ignored <= MAX_VOID_PIXELS * void
    return "void" if is_void else "label borders"


def band_indices(
    truth: Pixels, widths: Sequence[float], bands: Bands = "void"
) -> NDArray[np.intp] | None:
    """Return for each pixel the index of the narrowest band that contains it.

    Args:
        truth: the label map ``(H, W)``.
        widths: widths of the bands in pixels, in ascending order.
        bands: what they are measured from.

    Returns:
        ``(H, W)``, with ``len(widths)`` for pixels outside all bands; None without borders.
    """
    border = truth == IGNORE if bands == "void" else _class_borders(truth)
    if not border.any():
        return None
    inside = (~border).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    if bands == "label borders":
        distance = distance + 1  # from the pixels on a border to those across it
    return np.searchsorted(np.asarray(widths, np.float32), distance)


def _class_borders(truth: Pixels) -> NDArray[np.bool_]:
    """Return the pixels with a direct neighbor of another class; 255 is none."""
    border = np.zeros(truth.shape, np.bool_)
    for first, second in (
        ((slice(1, None),), (slice(None, -1),)),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        one, other = truth[first], truth[second]
        differ = (one != other) & (one != IGNORE) & (other != IGNORE)
        border[first] |= differ
        border[second] |= differ
    return border


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
