"""EXIF orientations: pixels as they are stored, and upright as they are shown."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

A = TypeVar("A", bound=NDArray[Any])

TRANSPOSED_ORIENTATIONS = range(5, 9)
"""EXIF orientations that exchange rows and columns."""

FLIPPED_AXES = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
"""Axes that each EXIF orientation flips, after the transposition."""


def upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return stored pixels ``(H, W, ...)`` as their EXIF orientation asks for them to be shown."""
    if orientation in TRANSPOSED_ORIENTATIONS:
        values = values.swapaxes(0, 1)
    return np.ascontiguousarray(np.flip(values, FLIPPED_AXES.get(orientation, ())))


def as_stored(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return upright pixels ``(H, W, ...)`` in the order in which they are stored."""
    flipped = np.flip(values, FLIPPED_AXES.get(orientation, ()))
    if orientation in TRANSPOSED_ORIENTATIONS:
        flipped = flipped.swapaxes(0, 1)
    return np.ascontiguousarray(flipped)
