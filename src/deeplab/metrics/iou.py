"""Intersection over union, the one formula for all scores, reports and galleries.

A class that occurs neither in the truth nor in the prediction has no IoU (nan) and is left out of
means.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer[Any]]
Fractions = NDArray[np.float64]


def correct_and_union(confusion: Counts) -> tuple[Fractions, Fractions]:
    """Return the correct pixels of each class, and the union of its truth and prediction.

    Both add up over images.

    Args:
        confusion: pixels by truth (row) and prediction (column): ``(..., K, K)``.

    Returns:
        Two arrays ``(..., K)``.
    """
    correct = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    return correct, (confusion.sum(-1) + confusion.sum(-2)).astype(np.float64) - correct


def intersection_over_union(intersection: NDArray[Any], union: NDArray[Any]) -> Fractions:
    """Return the IoU of pixel counts of the same shape; nan where the union is empty."""
    return np.divide(intersection, union, out=np.full(union.shape, np.nan), where=union > 0)


def class_iou(confusion: Counts) -> Fractions:
    """Return the IoU of each class, ``(..., K, K)`` to ``(..., K)``."""
    return intersection_over_union(*correct_and_union(confusion))


def mean_over_classes(values: Fractions) -> Fractions:
    """Return the mean over the classes that have a value, ``(..., K)`` to ``(...)``."""
    number = (~np.isnan(values)).sum(-1)
    total = np.nansum(values, axis=-1)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
