"""The confusion matrix as an SVG whose rows are parts of the truth's pixels."""

from collections.abc import Sequence
from html import escape

import numpy as np

from deeplab.tools.gallery.selection import Counts

CHARACTER = 0.6
"""Width of a letter, in units of its height."""


def matrix_svg(confusion: Counts, names: Sequence[str]) -> str:
    """A cell for each pair of classes that was confused.

    Right ones and wrong ones have a color each, which is as strong as the square root of the part:
    the many small parts could not be seen otherwise.

    Args:
        confusion: ``(K, K)`` pixels by truth (row) and prediction (column).
        names: of the classes.
    """
    number = len(names)
    cell = 44 if number <= 12 else 34 if number <= 24 else 13
    text = 12 if cell > 13 else 10
    margin = round(max(12, *map(len, names)) * text * CHARACTER) + 12
    side = margin + number * cell + 1
    parts = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    cells = [
        _cell(names, (int(t), int(p)), int(confusion[t, p]), float(parts[t, p]), margin, cell)
        for t, p in zip(*np.nonzero(confusion), strict=True)
    ]
    return (
        f'<svg class="matrix" role="img" viewBox="0 0 {side} {side}" '
        f'style="--side:{side}px" font-size="{text}" '
        f'aria-label="Confusion matrix: truth in rows, prediction in columns">'
        f"{_grid(number, margin, cell)}{''.join(cells)}{_labels(names, margin, cell)}</svg>"
    )


def _cell(
    names: Sequence[str], at: tuple[int, int], pixels: int, part: float, margin: int, cell: int
) -> str:
    truth, prediction = at
    x, y = margin + prediction * cell, margin + truth * cell
    said = f"{escape(names[truth])} taken for {escape(names[prediction])}"
    if truth == prediction:
        said = f"{escape(names[truth])} found"
    opacity = part**0.5
    number = ""
    if cell > 13 and part >= 0.005:
        strong = ' class="strong"' if opacity > 0.65 else ""
        number = (
            f'<text x="{x + cell / 2:g}" y="{y + cell / 2:g}" dy=".35em" text-anchor="middle"'
            f"{strong}>{100 * part:.0f}</text>"
        )
    return (
        f'<g class="{"right" if truth == prediction else "wrong"}">'
        f'<title>{said}: {100 * part:.2f} % ({pixels:,} pixels)</title><rect x="{x}" y="{y}" '
        f'width="{cell}" height="{cell}" fill-opacity="{opacity:.3f}"/>{number}</g>'
    )


def _grid(number: int, margin: int, cell: int) -> str:
    end = margin + number * cell
    lines = "".join(
        f"M{margin} {margin + i * cell}H{end}M{margin + i * cell} {margin}V{end}"
        for i in range(number + 1)
    )
    return f'<path class="grid" d="{lines}"/>'


def _labels(names: Sequence[str], margin: int, cell: int) -> str:
    """Names of the rows, and of the columns, which are read from below."""
    corner = margin - 6
    labels = [
        f'<text class="axis" x="{corner}" y="{corner - 14}" text-anchor="end">prediction →</text>',
        f'<text class="axis" x="{corner}" y="{corner}" text-anchor="end">truth ↓</text>',
    ]
    for i, name in enumerate(names):
        middle = margin + (i + 0.5) * cell
        text = f'dy=".35em">{escape(name)}</text>'
        labels.append(f'<text x="{corner}" y="{middle:g}" text-anchor="end" {text}')
        turned = f'transform="translate({middle:g} {corner}) rotate(-90)"'
        labels.append(f"<text {turned} {text}")
    return "".join(labels)
