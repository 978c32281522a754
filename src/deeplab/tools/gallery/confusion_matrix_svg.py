"""Confusion matrix as an SVG, each row normalized by the pixels of its true class."""

from collections.abc import Sequence
from html import escape

import numpy as np

from deeplab.tools.gallery.selection import Counts

CHARACTER_WIDTH = 0.6
"""Estimated width of a letter as a fraction of the font size."""


def matrix_svg(confusion: Counts, names: Sequence[str]) -> str:
    """Draw a cell for each pair of true and predicted class that has pixels.

    Correct and wrong cells have one color each. Its opacity is the square root of the cell's
    fraction of the row; small fractions, which are the most, would be invisible otherwise.

    Args:
        confusion: ``(K, K)`` pixels by true class (row) and predicted class (column).
        names: class names.
    """
    num_classes = len(names)
    cell = 44 if num_classes <= 12 else 34 if num_classes <= 24 else 13
    font_size = 12 if cell > 13 else 10
    margin = round(max(12, *map(len, names)) * font_size * CHARACTER_WIDTH) + 12
    side = margin + num_classes * cell + 1
    fractions = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    cells = [
        _cell(names, (int(t), int(p)), int(confusion[t, p]), float(fractions[t, p]), margin, cell)
        for t, p in zip(*np.nonzero(confusion), strict=True)
    ]
    return (
        f'<svg class="matrix" role="img" viewBox="0 0 {side} {side}" '
        f'style="--side:{side}px" font-size="{font_size}" '
        f'aria-label="Confusion matrix: truth in rows, prediction in columns">'
        f"{_grid(num_classes, margin, cell)}{''.join(cells)}{_labels(names, margin, cell)}</svg>"
    )


def _cell(
    names: Sequence[str],
    classes: tuple[int, int],
    pixels: int,
    fraction: float,
    margin: int,
    cell: int,
) -> str:
    truth, prediction = classes
    x, y = margin + prediction * cell, margin + truth * cell
    title = f"{escape(names[truth])} predicted as {escape(names[prediction])}"
    if truth == prediction:
        title = f"{escape(names[truth])} predicted correctly"
    opacity = fraction**0.5
    number = ""
    if cell > 13 and fraction >= 0.005:
        strong = ' class="strong"' if opacity > 0.65 else ""
        number = (
            f'<text x="{x + cell / 2:g}" y="{y + cell / 2:g}" dy=".35em" text-anchor="middle"'
            f"{strong}>{100 * fraction:.0f}</text>"
        )
    return (
        f'<g class="{"right" if truth == prediction else "wrong"}">'
        f'<title>{title}: {100 * fraction:.2f} % ({pixels:,} pixels)</title><rect x="{x}" y="{y}" '
        f'width="{cell}" height="{cell}" fill-opacity="{opacity:.3f}"/>{number}</g>'
    )


def _grid(num_classes: int, margin: int, cell: int) -> str:
    end = margin + num_classes * cell
    lines = "".join(
        f"M{margin} {margin + i * cell}H{end}M{margin + i * cell} {margin}V{end}"
        for i in range(num_classes + 1)
    )
    return f'<path class="grid" d="{lines}"/>'


def _labels(names: Sequence[str], margin: int, cell: int) -> str:
    """Return the names of the rows and of the columns, the latter rotated."""
    corner = margin - 6
    labels = [
        f'<text class="axis" x="{corner}" y="{corner - 14}" text-anchor="end">prediction →</text>',
        f'<text class="axis" x="{corner}" y="{corner}" text-anchor="end">truth ↓</text>',
    ]
    for i, name in enumerate(names):
        middle = margin + (i + 0.5) * cell
        text = f'dy=".35em">{escape(name)}</text>'
        labels.append(f'<text x="{corner}" y="{middle:g}" text-anchor="end" {text}')
        rotation = f'transform="translate({middle:g} {corner}) rotate(-90)"'
        labels.append(f"<text {rotation} {text}")
    return "".join(labels)
