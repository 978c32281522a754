"""Figures of a table: accuracy over cost, mIoU curves around object borders, and classes.

Rows are identified by their numbers in the table. Results under different conditions are drawn in
different figures.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from deeplab.ablations.report.class_scores import ClassScores, class_scores, class_table
from deeplab.ablations.report.columns import TICK, format_signed
from deeplab.ablations.report.costs import multiply_adds
from deeplab.ablations.report.row_results import (
    RowResult,
    SeedResult,
    TableResult,
    boundary_bands,
    get_score,
)
from deeplab.ablations.report.sheet import FigureFile
from deeplab.ablations.report.statistics import Sampler
from deeplab.ablations.tables import Score
from deeplab.evaluation.plots import band_curve, label_bands, set_log_scale
from deeplab.metrics.definitions import METRICS
from deeplab.tracking.result import PAPER_COST_LABEL
from deeplab.utils.files import atomic_write, write_text
from deeplab.utils.text import plot_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120

PAGE_DPI = 84
"""Pixels of the page for an inch of a figure; more would enlarge the text of a narrow figure."""

WIDTH, HEIGHT, LEGEND_LINE, CLASS_LINE = 7.0, 3.7, 0.19, 0.2
"""Size of a figure, height of a line of its legend, and height of a class, in inches."""

NUMBER_OFFSETS = ((8, 4), (-8, 4), (8, -11), (-8, -11))
"""Offsets from a row's mark to its number in points, in turn, so that neighbors stay readable."""

NUMBER_STYLE: dict[str, Any] = {
    "textcoords": "offset points",
    "fontsize": "small",
    "ha": "center",
}

LINE_STYLES = ("-", "--", ":", "-.")
"""Line styles, in turn each time the ten colors are used up."""


def draw_figures(table: TableResult, sampler: Sampler, folder: Path) -> list[FigureFile]:
    """Draw the figures for which a table has data and return them, the main figure first.

    The numbers of the figure of the classes are written as CSV beside it.
    """
    figures = []
    for condition in range(len(table.conditions)):
        results = {
            row: scored for row in table.rows if (scored := table.scored_under(row, condition))
        }
        letter = table.letter(condition)
        suffix = f"-{letter}" if letter else ""
        under = f", conditions {letter}" if letter else ""
        cost = _draw_cost(table, results, folder / f"{table.name}-cost{suffix}.png", under)
        curves = _draw_boundary(
            table, results, folder / f"{table.name}-boundary{suffix}.png", under
        )
        figures += [curves, cost] if table.boundary_plot else [cost, curves]
        figures.append(_draw_classes(table, condition, sampler, folder, suffix, under))
    drawn = [figure for figure in figures if figure]
    _remove_outdated(table.name, folder, {figure.name for figure in drawn})
    return drawn


def _remove_outdated(name: str, folder: Path, drawn: set[str]) -> None:
    """Remove the figures of an earlier report on a table that were not drawn again."""
    pattern = re.compile(rf"{re.escape(name)}-(cost|boundary|classes)(-[A-Z]\d*)?\.(png|csv)")
    for path in folder.glob("*.*"):
        if pattern.fullmatch(path.name) and f"{path.stem}.png" not in drawn:
            path.unlink(missing_ok=True)


def _draw_cost(
    table: TableResult, results: Mapping[RowResult, Sequence[SeedResult]], path: Path, under: str
) -> FigureFile | None:
    """Draw accuracy over multiply-adds, unless all rows cost the same."""
    costs = {row: counts[0] for row in results if len(counts := multiply_adds(row)) == 1}
    if len(set(costs.values())) < 2:
        return None
    figure, axes = _new_figure(0)
    main = table.scores[0]
    paper = _paper_points(table, main)
    if paper:
        axes.scatter(*zip(*paper, strict=True), color="0.75", label="paper")
    for i, (row, cost) in enumerate(sorted(costs.items(), key=lambda item: item[1])):
        values = [get_score(s, main) for s in results[row]]
        deviation = stdev(values) if len(values) > 1 else None
        label = None if i else "here"
        axes.errorbar(cost, mean(values), deviation, fmt="o", color="C0", capsize=3, label=label)
        position = (cost, mean(values))
        offset = NUMBER_OFFSETS[i % len(NUMBER_OFFSETS)]
        axes.annotate(f"{row.number}", position, offset, **NUMBER_STYLE)
    shown = [*costs.values(), *(cost for cost, _ in paper)]
    if max(shown) >= 3 * min(shown):  # else a logarithmic axis would have hardly any ticks
        set_log_scale(axes)
    axes.margins(0.08)
    axes.set_xlabel(PAPER_COST_LABEL)
    axes.set_ylabel(f"{METRICS[main].label}, %")
    if paper:
        axes.legend(fontsize="small")
    caption = f"{METRICS[main].label} over multiply-adds{under}; the numbers are row numbers"
    caption += _spread(results)
    return _save(figure, path, caption)


def _paper_points(table: TableResult, main: Score) -> list[tuple[float, float]]:
    """Return multiply-adds and main score of the paper's rows; none if our networks differ."""
    papers = [row.paper for row in table.rows] if table.as_paper else []
    return [
        (paper.multiply_adds, printed)
        for paper in papers
        if paper.multiply_adds is not None and (printed := getattr(paper, main)) is not None
    ]


def _draw_boundary(
    table: TableResult, results: Mapping[RowResult, Sequence[SeedResult]], path: Path, under: str
) -> FigureFile | None:
    """Draw mIoU over the width of the band around object borders, one curve per row."""
    curves = {row: curve for row, scored in results.items() if (curve := seed_curves(scored))}
    if not curves:
        return None
    figure, axes = _new_figure(len(curves))
    for i, (row, curve) in enumerate(curves.items()):
        style = LINE_STYLES[i // 10 % len(LINE_STYLES)]
        label = f"{row.number}: {plot_text(row_title(table, row))}"
        means = [mean(values) for values in curve.values()]
        (line,) = axes.plot([*curve], means, style, marker="o", markersize=3, label=label)
        spans = [stdev(values) if len(values) > 1 else 0.0 for values in curve.values()]
        low, high = ([m + sign * s for m, s in zip(means, spans, strict=True)] for sign in (-1, 1))
        axes.fill_between([*curve], low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    label_bands(axes)
    figure.legend(loc="outside lower left", fontsize="small", ncols=_legend_columns(len(curves)))
    caption = f"mIoU in bands around object borders{under}, one curve per row{_spread(results)}"
    return _save(figure, path, caption)


def seed_curves(seed_results: Sequence[SeedResult]) -> dict[float, list[float]]:
    """Return the mIoU in percent of each run of a row, by band width.

    Only widths that all runs have are included.
    """
    curves = [band_curve(boundary_bands(e)) for s in seed_results if (e := s.evaluation)]
    return {w: [curve[w] for curve in curves] for w in curves[0] if all(w in c for c in curves)}


def _spread(results: Mapping[RowResult, Sequence[SeedResult]]) -> str:
    """Return what a caption says of the spread over seeds; empty for one seed of each row."""
    several = any(len(scored) > 1 for scored in results.values())
    return "; with plus and minus one standard deviation over the seeds" * several


def _draw_classes(
    table: TableResult,
    condition: int,
    sampler: Sampler,
    folder: Path,
    suffix: str,
    under: str,
) -> FigureFile | None:
    """Draw the differences in the IoU of each class from the reference row, one column per row."""
    if table.scores[0] != "mIoU":
        return None
    scores = class_scores(table, condition, sampler)
    compared = [s for s in scores if s.differences]
    if not compared:
        return None
    classes = table.conditions[condition][0].protocol.classes
    name = f"{table.name}-classes{suffix}"
    write_text(folder / f"{name}.csv", class_table(scores, classes).as_csv())
    figure = _class_figure(compared, classes)
    caption = (
        f"IoU of each class minus that of the reference row, points{under}; the columns are row "
        "numbers, bold is more than noise"
    )
    return _save(figure, folder / f"{name}.png", caption)._replace(data=f"{name}.csv")


def _class_figure(compared: Sequence[ClassScores], classes: Sequence[str]) -> "Figure":
    from matplotlib.figure import Figure

    points = np.stack([100 * s.differences.measured for s in compared if s.differences], axis=1)
    size = (min(WIDTH, 2 + 0.7 * len(compared)), 0.6 + CLASS_LINE * len(classes))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    limit = 2 * max(1.0, float(np.nanmax(np.abs(points), initial=0)))  # light under the numbers
    axes.imshow(points, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(compared)), [f"{s.row.number}" for s in compared])
    axes.set_yticks(range(len(classes)), [plot_text(name) for name in classes], fontsize="small")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for column, (_, _, differences) in enumerate(compared):
        assert differences is not None
        for line, (value, low, high) in enumerate(np.stack(differences, axis=1)):
            if not np.isnan(value):
                weight = "normal" if low <= 0 <= high else "bold"
                text = format_signed(100 * value, 1)
                axes.text(column, line, text, ha="center", va="center", fontsize=7, weight=weight)
    return figure


def row_title(table: TableResult, row: RowResult) -> str:
    """Return the cells of a row in one line.

    A tick is replaced by the name of its column; a plain number follows the name of its column.
    """
    parts = []
    for column, cell in zip(table.columns, row.cells, strict=True):
        if cell is True:
            parts.append(column)
        elif cell is not False and cell != "":
            is_number = str(cell).replace(".", "").replace("-", "").isdigit()
            parts.append(f"{column} {cell}" if is_number else str(cell))
    return ", ".join(parts) or TICK


def _new_figure(legend_entries: int) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    lines = -(-legend_entries // _legend_columns(legend_entries))
    figure = Figure(figsize=(WIDTH, HEIGHT + LEGEND_LINE * lines), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes


def _legend_columns(entries: int) -> int:
    return 2 if entries > 8 else 1


def _save(figure: "Figure", path: Path, caption: str) -> FigureFile:
    with atomic_write(path) as draft:
        figure.savefig(draft, format="png", dpi=DPI, metadata={"Software": None})
    width, height = figure.get_size_inches()
    return FigureFile(path.name, caption, (round(width * PAGE_DPI), round(height * PAGE_DPI)))
