"""Plot of a confusion matrix: which classes are taken for which."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deeplab.metrics.iou import Counts
from deeplab.utils.figures import save_plot
from deeplab.utils.text import plot_name

MAX_NUMBERS = 12
"""Number of classes up to which the cells have numbers."""

MAX_NAMES = 40
"""Number of classes up to which the rows and columns have names."""


def plot_confusion(matrix: Counts, names: Sequence[str], path: Path) -> None:
    """Draw the share of each true class (row) that is predicted as each class (column).

    Args:
        matrix: pixels by true and predicted class, ``(K, K)``.
        names: name of each class.
        path: file of the figure, a PNG.
    """
    from matplotlib.figure import Figure

    count = len(names)
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2.2 + min(6.5, max(2.6, 0.5 * count))
    figure = Figure(figsize=(side, side))
    left = 1.7 / side
    axes = figure.add_axes((left, 0.5 / side, 0.98 - left, 0.98 - 1.9 / side))
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    if count <= MAX_NAMES:
        labels = [plot_name(name) for name in names]
        axes.set_xticks(range(count), labels, rotation=90, fontsize="small")
        axes.set_yticks(range(count), labels, fontsize="small")
        axes.xaxis.tick_top()
    axes.set(xlabel="predicted, % of the true class", ylabel="true class")
    for row, column in np.argwhere(percent >= 0.5) if count <= MAX_NUMBERS else ():
        value = percent[row, column]
        color = "white" if value > 60 else "black"
        place: dict[str, Any] = {"ha": "center", "va": "center"}
        axes.text(column, row, f"{value:.0f}", color=color, fontsize="small", **place)
    save_plot(figure, path, dpi=110)
