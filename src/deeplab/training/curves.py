"""Plot of a run's loss and scores over its steps."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from deeplab.metrics.definitions import CLASS_IOU, LEARNING_RATE, TRAIN_LOSS, Metric
from deeplab.tracking.run_folder import RESTORE_HINT, RunFolder
from deeplab.utils.figures import save_plot
from deeplab.utils.reading import read_csv
from deeplab.utils.text import plot_name
from deeplab.utils.visualization import Color

SMOOTHED = 20
"""Number of parts of the training over each of which the loss is averaged."""

MAX_NAMED = 10
"""Number of classes up to which each curve has a name."""

OTHER: Color = (127, 127, 127)
"""Color of the curve of a class whose own is black or unknown."""

MAX_BRIGHTNESS = 170
"""Largest brightness, of 255, of a line that can be seen on white."""

Points = list[tuple[int, float]]


def plot_curves(folder: RunFolder, metric: Metric, class_colors: Mapping[str, Color]) -> Path:
    """Draw ``curves.png`` from ``metrics.csv`` and return its path.

    Args:
        folder: the run folder.
        metric: main metric of the validation.
        class_colors: colors of the classes by name, those of the overlays; black is the metric's.
    """
    from matplotlib.figure import Figure

    rows = read_csv(folder.metrics_csv, RESTORE_HINT)
    figure = Figure(figsize=(12, 3.8))  # a layout engine would take half of the time
    figure.subplots_adjust(left=0.05, right=0.86, bottom=0.13, top=0.91, wspace=0.28)
    left, right = figure.subplots(1, 2)
    loss = _points(rows, TRAIN_LOSS)
    left.plot(*_axes(loss), color="C0", alpha=0.3, linewidth=1, label="each logged step")
    left.plot(*_axes(_averages(loss)), color="C0", marker="o", markersize=3, label="average")
    left.set(title="training loss", xlabel="step", ylim=(0, None))
    rate = left.twinx()
    rate.plot(*_axes(_points(rows, LEARNING_RATE)), color="C7", linestyle=":", linewidth=1)
    rate.set_ylabel("learning rate (dotted)", color="C7")
    rate.set_ylim(0, None)
    left.legend(fontsize="small")
    classes = [name for name in rows[0] if name.startswith(CLASS_IOU)] if rows else []
    for number, name in enumerate(classes):
        few = len(classes) <= MAX_NAMED
        class_name = name.removeprefix(CLASS_IOU)
        label = plot_name(class_name) if few else "each class"
        right.plot(
            *_axes(_points(rows, name)),
            linewidth=1.2 if few else 1,
            label=label if few or not number else None,
            color=_line_color(class_colors.get(class_name, OTHER)) if few else "C7",
            alpha=1 if few else 0.4,
        )
    scores = _axes(_points(rows, metric.logged_as))
    right.plot(*scores, color="black", marker="o", markersize=4, label=metric.label)
    right.set(title="validation, %", xlabel="step", ylim=(0, 100))
    right.grid(alpha=0.3)
    right.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), reverse=True)
    save_plot(figure, folder.curves, dpi=110)
    return folder.curves


def better_validation(folder: RunFolder, metric: Metric) -> tuple[int, float] | None:
    """Return step and score of the best validation; None if it is the last one."""
    rows = read_csv(folder.metrics_csv, RESTORE_HINT)
    scores = [point for point in _points(rows, metric.logged_as) if not math.isnan(point[1])]
    sign = 1 if metric.higher_is_better else -1
    best = max(scores, key=lambda point: sign * point[1], default=None)
    return None if best is None or best[1] == scores[-1][1] else best


def _line_color(color: Color) -> str:
    """Return a color for a line on white, darker if it is bright, gray if it is black."""
    red, green, blue = color
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    if not any(color):
        return _line_color(OTHER)
    factor = min(1.0, MAX_BRIGHTNESS / brightness)
    return "#" + "".join(f"{round(factor * value):02x}" for value in color)


def _points(rows: Sequence[dict[str, str]], name: str) -> Points:
    """Return the steps that have a value, with it."""
    return [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]


def _axes(points: Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def _averages(points: Points) -> Points:
    """Return the averages of consecutive points, each at the step in their middle."""
    size = max(1, len(points) // SMOOTHED)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[len(part) // 2][0], sum(v for _, v in part) / len(part)) for part in parts]
