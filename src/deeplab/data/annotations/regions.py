"""Annotated regions of an image, and the label map that they are drawn into.

Coordinates are in pixels, ``x`` to the right and ``y`` down, from the upper left corner of the
image: the first pixel's center is ``(0.5, 0.5)``. A pixel belongs to an outline if its center is
inside; where lines of an outline cross, and in holes, inside changes to outside (even-odd rule).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.utils.constants import IGNORE

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Points = Sequence[tuple[float, float]]
"""Corners ``(x, y)`` of a closed line."""


MAX_COORDINATE = 1e7
"""Largest coordinate, in pixels: far outside any image."""


class Patch(NamedTuple):
    """Part of an image, as a mask ``(h, w)`` and the place of its upper left corner."""

    mask: Mask
    top: int = 0
    left: int = 0


class Outlines(NamedTuple):
    """Closed lines: the outside of a region and its holes."""

    rings: Sequence[Points]

    def draw(self, height: int, width: int) -> Patch:
        """Return the part of an image of this size that is inside.

        Raises:
            ValueError: a coordinate is no number or far away.
        """
        rings = [np.asarray(ring, np.float64).reshape(-1, 2) for ring in self.rings]
        corners = np.concatenate([*rings, np.zeros((0, 2))])
        if not (np.abs(corners) <= MAX_COORDINATE).all():  # nan is not
            raise ValueError("the coordinates of an outline are far outside the image")
        if len(corners) < 3:
            return Patch(np.zeros((0, 0), np.bool_))
        limits = np.clip(
            [np.floor(corners.min(0)), np.ceil(corners.max(0))], 0, [width, height]
        ).astype(int)
        (left, top), (right, bottom) = limits
        crossed = np.zeros((bottom - top, right - left + 1), np.bool_)
        for ring in rings:
            _cross(crossed, ring - (left, top))
        return Patch(np.logical_xor.accumulate(crossed, axis=1)[:, :-1], int(top), int(left))


class Ellipse(NamedTuple):
    """Ellipse or circle; its first radius is turned clockwise from the right by an angle."""

    x: float
    y: float
    radius_x: float
    radius_y: float
    degrees: float = 0

    def draw(self, height: int, width: int) -> Patch:
        """Return the part of an image of this size that is inside; raises as of ``Outlines``."""
        if not all(abs(number) <= MAX_COORDINATE for number in self):  # nan is not
            raise ValueError("an ellipse is far outside the image")
        reach = max(self.radius_x, self.radius_y, 0)
        left, right = (int(np.clip(self.x + s * (reach + 1), 0, width)) for s in (-1, 1))
        top, bottom = (int(np.clip(self.y + s * (reach + 1), 0, height)) for s in (-1, 1))
        if min(self.radius_x, self.radius_y) <= 0:
            return Patch(np.zeros((0, 0), np.bool_))
        x = np.arange(left, right) + 0.5 - self.x
        y = (np.arange(top, bottom) + 0.5 - self.y)[:, None]
        cos, sin = np.cos(np.radians(self.degrees)), np.sin(np.radians(self.degrees))
        along, across = cos * x + sin * y, cos * y - sin * x
        inside = (along / self.radius_x) ** 2 + (across / self.radius_y) ** 2 <= 1
        return Patch(inside, top, left)


class Bitmap(NamedTuple):
    """Mask of a part of the image."""

    patch: Patch

    def draw(self, height: int, width: int) -> Patch:
        """Return the part of it that is in an image of this size."""
        mask, top, left = self.patch
        mask = mask[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
        return Patch(mask, max(0, top), max(0, left))


def box(left: float, top: float, right: float, bottom: float) -> Outlines:
    """Return the outline of a rectangle."""
    return Outlines([[(left, top), (right, top), (right, bottom), (left, bottom)]])


def turned_box(pivot: tuple[float, float], rectangle: Outlines, degrees: float) -> Outlines:
    """Return a rectangle, given relative to a point, turned clockwise around that point."""
    (left, top), c, s = pivot, cos(radians(degrees)), sin(radians(degrees))
    return Outlines(
        [[(left + c * x - s * y, top + s * x + c * y) for x, y in ring] for ring in rectangle.rings]
    )


class Region(NamedTuple):
    """Annotated region of one class."""

    name: str
    """Name of the class."""
    shape: Outlines | Ellipse | Bitmap
    crowd: bool = False
    """Coarse region around a group: ignored where no other region lies."""


def _cross(crossed: Mask, ring: NDArray[np.float64]) -> None:
    """Invert, in each row, the first pixel whose center is right of each crossing line.

    Args:
        crossed: ``(h, w + 1)``; the last column takes what is right of the image.
        ring: corners ``(N, 2)`` relative to the first pixel.
    """
    height, columns = crossed.shape
    start, end = ring, np.roll(ring, -1, axis=0)
    for (x0, y0), (x1, y1) in zip(start, end, strict=True):
        if y0 == y1:
            continue
        low, high = min(y0, y1), max(y0, y1)
        first, last = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in (low, high))
        rows = np.arange(first, last)  # low <= the center's y < high
        x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        crossed[rows, np.clip(np.ceil(x - 0.5), 0, columns - 1).astype(int)] ^= True


@dataclass(frozen=True)
class LabelDrawing:
    """How regions become a label map.

    Args:
        labels: names of regions with their labels.
        unlabeled: label of pixels that no region covers.
        overlap_is_ignored: pixels of regions of two classes are 255; False: a later region covers
            earlier ones.
        ignored: names whose regions are 255.
    """

    labels: tuple[tuple[str, int], ...]
    unlabeled: int
    overlap_is_ignored: bool
    ignored: tuple[str, ...]

    def draw(self, regions: Iterable[Region], height: int, width: int) -> Pixels:
        """Return the label map ``(H, W)`` of an image.

        Raises:
            KeyError: a region's name is that of no class.
            ValueError: a region is far outside the image.
        """
        labels = dict(self.labels) | dict.fromkeys(self.ignored, IGNORE)
        label = np.full((height, width), self.unlabeled, np.uint8)
        covered = np.zeros(label.shape, np.bool_)
        crowds = []
        for region in regions:
            mask, top, left = region.shape.draw(height, width)
            if not mask.size:
                continue
            window = np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]
            if region.crowd:
                crowds.append((mask, window))
                continue
            index = labels[region.name]
            if self.overlap_is_ignored:
                twice = mask & covered[window] & (label[window] != index)
                label[window][mask & ~twice] = index
                label[window][twice] = IGNORE
            else:
                label[window][mask] = index
            covered[window] |= mask
        for mask, window in crowds:
            label[window][mask & ~covered[window]] = IGNORE
        return label
