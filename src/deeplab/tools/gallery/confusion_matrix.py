"""Layout of a confusion matrix, each row normalized by the pixels of its true class."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deeplab.metrics.image_confusions import Counts

CHARACTER_WIDTH = 0.6
"""Estimated width of a letter as a fraction of the font size."""


class MatrixCell(NamedTuple):
    """Pixels of one true class that are predicted as one class."""

    truth: int
    prediction: int
    pixels: int
    fraction: float
    """Fraction of the pixels of the true class."""


class Matrix(NamedTuple):
    """Confusion matrix as ``confusion_matrix.svg`` draws it; lengths are in pixels."""

    names: Sequence[str]
    cells: list[MatrixCell]
    """Cells with pixels; the others are not drawn."""
    cell_size: int
    font_size: int
    margin: int
    """Space for the names."""


def lay_out_matrix(confusion: Counts, names: Sequence[str]) -> Matrix:
    """Return the cells and sizes of a confusion matrix.

    Args:
        confusion: ``(K, K)`` pixels by true class (row) and predicted class (column).
        names: class names.
    """
    cell_size = 44 if len(names) <= 12 else 34 if len(names) <= 24 else 13
    font_size = 12 if cell_size > 13 else 10
    fractions = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    cells = [
        MatrixCell(int(t), int(p), int(confusion[t, p]), float(fractions[t, p]))
        for t, p in zip(*np.nonzero(confusion), strict=True)
    ]
    margin = round(max(12, *map(len, names)) * font_size * CHARACTER_WIDTH) + 12
    return Matrix(names, cells, cell_size, font_size, margin)
