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


MAX_DIRECT_BORDERS = 0.2
"""Borders at which two classes touch, per border with ignored pixels between them, up to which
these lie along the borders; 0.006 on VOC."""

MAX_VOID_WIDTH = 0.05
"""Width up to which ignored pixels between two classes are a border, not an unlabeled area, as a
fraction of the image's diagonal; VOC's are 0.01 wide."""


def find_bands(label_maps: Iterable[Pixels]) -> Bands:
    """Return ``void`` if ignored pixels lie along the borders of classes in these label maps."""
    direct = void = 0
    for label_map in label_maps:
        widest = MAX_VOID_WIDTH * np.hypot(*label_map.shape)
        for rows in (label_map, label_map.T):
            ignored = _ignored_between_classes(rows)
            direct += int((ignored == 0).sum())
            void += int(((ignored > 0) & (ignored <= widest)).sum())
    return "void" if void and direct <= MAX_DIRECT_BORDERS * void else "label borders"


def _ignored_between_classes(label_map: Pixels) -> NDArray[np.intp]:
    """Return how many ignored pixels are at each change of the class along the rows."""
    labels = label_map.ravel()
    labeled = np.flatnonzero(labels != IGNORE)
    changes = np.flatnonzero(np.diff(labels[labeled]))
    before, after = labeled[changes], labeled[changes + 1]
    width = label_map.shape[1]
    return (after - before - 1)[before // width == after // width]


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


class _Part(NamedTuple):
    """Some pixels of an image, in a rectangle around all of them."""

    mask: NDArray[np.bool_]
    top: int
    left: int

    def total(self) -> int:
        """Return the number of the pixels."""
        return int(np.count_nonzero(self.mask))

    def count_in(self, other: "_Part") -> int:
        """Return how many of them are also in another part."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        first, second = (p.mask[top - p.top :, left - p.left :] for p in (self, other))
        height, width = (min(sides) for sides in zip(first.shape, second.shape, strict=True))
        return int(np.count_nonzero(first[:height, :width] & second[:height, :width]))


class Outline:
    """The contour of one class in a label map.

    Args:
        mask: ``(H, W)``, 1 for the pixels of the class, else 0.
    """

    def __init__(self, mask: Pixels) -> None:
        self.diagonal = float(np.hypot(*mask.shape))
        left, top, width, height = cv2.boundingRect(mask)
        # with the neighbors, where the image has them
        self.top, self.left = max(0, top - 1), max(0, left - 1)
        self.mask = mask[self.top : top + height + 1, self.left : left + width + 1].copy()

    @cached_property
    def contour(self) -> _Part:
        """Pixels of the class with a direct neighbor that is not (above, below, left, right)."""
        # pixels outside the image count as the class, so the image's edges are not contours
        inside = cv2.erode(self.mask, CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        return _Part((self.mask > 0) & (inside == 0), self.top, self.left)

    @cached_property
    def surroundings(self) -> _Part:
        """Pixels that are as near to the contour as the boundary F-score tolerates."""
        tolerance = F_TOLERANCE * self.diagonal
        margin = int(tolerance)
        outside = np.pad(~self.contour.mask, margin, constant_values=True).astype(np.uint8)
        if outside.all():
            return _Part(np.zeros(outside.shape, np.bool_), self.top, self.left)
        distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return _Part(distance <= tolerance, self.top - margin, self.left - margin)

    @cached_property
    def inner_band(self) -> _Part:
        """Pixels of the class near its border or the image's edges, by which boundary IoU goes."""
        width = max(1, round(IOU_WIDTH * self.diagonal))
        padded = cv2.copyMakeBorder(self.mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        depth = cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]
        return _Part((depth > 0) & (depth <= width), self.top, self.left)


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
    bands = truth.inner_band, prediction.inner_band
    intersection = bands[0].count_in(bands[1])
    union = sum(band.total() for band in bands) - intersection
    return BoundaryScore(_f_score(truth, prediction), intersection, union)


def _f_score(truth: Outline, prediction: Outline) -> float:
    if not truth.contour.total() and not prediction.contour.total():
        return float("nan")
    precision = _fraction_within(prediction.contour, truth.surroundings)
    recall = _fraction_within(truth.contour, prediction.surroundings)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _fraction_within(contour: _Part, surroundings: _Part) -> float:
    """Return the fraction of contour pixels in the surroundings; 0 for an empty contour."""
    total = contour.total()
    return contour.count_in(surroundings) / total if total else 0.0
