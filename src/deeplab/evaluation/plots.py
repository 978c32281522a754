"""Plots of results, and the boundary curve as CSV."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab.evaluation.evaluation_folder import EvaluationFolder
from deeplab.tracking.result import PAPER_COST_LABEL, Band
from deeplab.utils.figures import save_plot
from deeplab.utils.files import write_text
from deeplab.utils.text import plot_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_boundary_curve(folder: EvaluationFolder, title: str, bands: Sequence[Band]) -> None:
    """Write ``boundary.csv`` and ``boundary.png``, unless there are no bands.

    Args:
        folder: folder of the evaluation.
        title: run and strategy, for the plot.
        bands: scores in the bands.
    """
    if not bands:
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["width", *bands[0].scores])
    writer.writerows([band.width, *band.scores.values()] for band in bands)
    write_text(folder.boundary_csv, text.getvalue())
    plot_boundary(folder.boundary_png, {title: bands})


def plot_boundary(path: Path, curves: Mapping[str, Sequence[Band]]) -> None:
    """Plot mIoU over the width of the band around object borders (Figure 5).

    Args:
        path: path of the PNG.
        curves: by title, the bands from narrow to wide.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_size(curves), layout="constrained")
    axes = figure.add_subplot()
    run, names = split_common_prefix(list(curves))
    for name, bands in zip(names, curves.values(), strict=True):
        points = band_curve(bands)
        widths, values = list(points), list(points.values())
        axes.plot(widths, values, marker="o", markersize=4, label=plot_text(name))
    axes.set_title(plot_text(run), fontsize="small")
    label_bands(axes)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower left", fontsize="small")
    save_plot(figure, path, dpi=130)


def plot_cost(path: Path, points: Sequence[tuple[str, float, float]]) -> None:
    """Plot accuracy (mIoU) over multiply-adds, with a line through the Pareto front.

    Args:
        path: path of the PNG.
        points: title, billions of multiply-adds, and mIoU in percent.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_size(points), layout="constrained")
    axes = figure.add_subplot()
    best = pareto_front([(cost, score) for _, cost, score in points])
    axes.plot(*zip(*best, strict=True), color="0.6", linestyle="--", zorder=1)
    run, names = split_common_prefix([title for title, *_ in points])
    for name, (_, cost, score) in zip(names, points, strict=True):
        axes.scatter(cost, score, zorder=2, label=plot_text(name))
    axes.set_title(plot_text(run), fontsize="small")
    set_log_scale(axes)
    axes.set_xlabel(PAPER_COST_LABEL)
    axes.set_ylabel("mIoU, %")
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside lower left", fontsize="small")
    save_plot(figure, path, dpi=130)


def band_curve(bands: Iterable[Band]) -> dict[float, float]:
    """Return the mIoU in percent by the width of the band, where there is one."""
    return {band.width: miou for band in bands if (miou := band.miou) is not None}


def label_bands(axes: "Axes") -> None:
    """Label the axes of mIoU over the width of bands."""
    axes.set_xlabel("width of the band around object borders, pixels")
    axes.set_ylabel("mIoU in the band, %")


def set_log_scale(axes: "Axes") -> None:
    """Make the axis of costs logarithmic, with ticks at plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _size(entries: Sized) -> tuple[float, float]:
    """Return the figure size in inches; the legend has a line for each entry."""
    return 7, 4 + 0.19 * len(entries)


def split_common_prefix(titles: Sequence[str]) -> tuple[str, list[str]]:
    """Split titles into the run that all of them share, or "", and the rest of each title."""
    common = os.path.commonpath(titles) if len(titles) > 1 else ""
    return common, [title.removeprefix(f"{common}/") for title in titles]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the Pareto front of (cost, score) pairs, sorted by cost.

    A pair is on the front if no other pair costs at most as much and scores at least as much.
    """
    best: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or score > best[-1][1]:
            best.append((cost, score))
    return best
