"""Figures of a table: accuracy over cost, and mIoU curves around object borders.

Rows are identified by their numbers in the table. Results under different conditions are drawn in
different figures.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from deeplab.ablations.report.columns import TICK
from deeplab.ablations.report.costs import multiply_adds
from deeplab.ablations.report.row_results import (
    CONDITION_LETTERS,
    RowResult,
    SeedResult,
    TableResult,
    boundary_bands,
    get_score,
)
from deeplab.ablations.report.sheet import FigureFile
from deeplab.ablations.tables import Score
from deeplab.metrics.definitions import METRICS
from deeplab.utils.files import atomic_write
from deeplab.utils.text import plot_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120

SUFFIXES = ("", *(f"-{letter}" for letter in CONDITION_LETTERS))
"""Suffixes of file names, by condition."""

WIDTH, HEIGHT, LEGEND_LINE = 7.0, 3.7, 0.19
"""Size of a figure, and height of a line of its legend, in inches."""

NUMBER_OFFSETS = ((8, 4), (-8, 4), (8, -11), (-8, -11))
"""Offsets from a row's mark to its number in points, in turn, so that neighbors stay readable."""

NUMBER_STYLE: dict[str, Any] = {
    "textcoords": "offset points",
    "fontsize": "small",
    "ha": "center",
}

LINE_STYLES = ("-", "--", ":", "-.")
"""Line styles, in turn each time the ten colors are used up."""


def draw_figures(table: TableResult, folder: Path) -> list[FigureFile]:
    """Draw the figures for which a table has data and return them, the main figure first."""
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
    drawn = [figure for figure in figures if figure]
    _remove_outdated(table.name, folder, {figure.name for figure in drawn})
    return drawn


def _remove_outdated(name: str, folder: Path, drawn: set[str]) -> None:
    """Remove the figures of an earlier report on a table that were not drawn again."""
    kinds = [f"{name}-{kind}{suffix}.png" for kind in ("cost", "boundary") for suffix in SUFFIXES]
    for outdated in (folder / kind for kind in kinds if kind not in drawn):
        outdated.unlink(missing_ok=True)


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
    _set_log_scale(axes, [*costs.values(), *(cost for cost, _ in paper)])
    axes.margins(0.08)
    axes.set_xlabel("multiply-adds by the paper's rule, 10⁹")
    axes.set_ylabel(f"{METRICS[main].label}, %")
    if paper:
        axes.legend(fontsize="small")
    caption = f"{METRICS[main].label} over multiply-adds{under}; the numbers are row numbers"
    return _save(figure, path, caption)


def _paper_points(table: TableResult, main: Score) -> list[tuple[float, float]]:
    """Return multiply-adds and main score of the paper's rows; none if our networks differ."""
    papers = [row.paper for row in table.rows] if table.as_paper else []
    return [
        (paper.multiply_adds, printed)
        for paper in papers
        if paper.multiply_adds is not None and (printed := getattr(paper, main)) is not None
    ]


def _set_log_scale(axes: "Axes", costs: Sequence[float]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    if max(costs) < 3 * min(costs):
        return  # a logarithmic axis would have hardly any ticks
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_boundary(
    table: TableResult, results: Mapping[RowResult, Sequence[SeedResult]], path: Path, under: str
) -> FigureFile | None:
    """Draw mIoU over the width of the band around object borders, one curve per row."""
    curves = {row: curve for row, scored in results.items() if (curve := mean_curve(scored))}
    if not curves:
        return None
    figure, axes = _new_figure(len(curves))
    for i, (row, curve) in enumerate(curves.items()):
        style = LINE_STYLES[i // 10 % len(LINE_STYLES)]
        label = f"{row.number}: {plot_text(row_title(table, row))}"
        axes.plot(list(curve), list(curve.values()), style, marker="o", markersize=3, label=label)
    axes.set_xlabel("width of the band around object borders, pixels")
    axes.set_ylabel("mIoU in the band, %")
    figure.legend(loc="outside lower left", fontsize="small", ncols=_legend_columns(len(curves)))
    caption = f"mIoU in bands around object borders{under}, one curve per row"
    return _save(figure, path, caption)


def mean_curve(seed_results: Sequence[SeedResult]) -> dict[float, float]:
    """Return the mIoU in percent by band width, averaged over the runs of a row.

    Only widths that all runs have are included.
    """
    curves = [
        {b.width: miou for b in boundary_bands(e) if (miou := b.miou) is not None}
        for s in seed_results
        if (e := s.evaluation)
    ]
    return {w: mean(curve[w] for curve in curves) for w in curves[0] if all(w in c for c in curves)}


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
    return FigureFile(path.name, caption, (round(width * DPI), round(height * DPI)))
