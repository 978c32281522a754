"""The pictures of a table: accuracy over cost, and the curves around object borders.

Rows are known by their numbers, as they stand in the table. What was measured under different
conditions is drawn in different pictures.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from deeplab.ablations.report.columns import TICK
from deeplab.ablations.report.costs import multiply_adds
from deeplab.ablations.report.results import (
    LETTERS,
    RowResult,
    SeedResult,
    TableResult,
    bands_of,
    score,
)
from deeplab.ablations.report.sheet import Picture
from deeplab.ablations.tables import TITLES, Score
from deeplab.utils.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120

ENDS = ("", *(f"-{letter}" for letter in LETTERS))
"""Of the names of pictures, by conditions."""

WIDTH, HEIGHT, LINE = 7.0, 3.7, 0.19
"""Inches: of a picture, and of a line of its legend."""

BESIDE = ((8, 4), (-8, 4), (8, -11), (-8, -11))
"""Points from a row's mark to its number, one after the other, so that neighbors can be read."""

NUMBER: dict[str, Any] = {"textcoords": "offset points", "fontsize": "small", "ha": "center"}

STYLES = ("-", "--", ":", "-.")
"""Of lines, one after the other when the ten colors are used up."""


def draw(table: TableResult, folder: Path) -> list[Picture]:
    """Draw what there is of a table, the main picture first."""
    made = []
    for condition in range(len(table.conditions)):
        looks = {row: found for row in table.rows if (found := table.under(row, condition))}
        letter = table.letter(condition)
        end = f"-{letter}" if letter else ""
        under = f", conditions {letter}" if letter else ""
        cost = _cost(table, looks, folder / f"{table.name}-cost{end}.png", under)
        curves = _boundary(table, looks, folder / f"{table.name}-boundary{end}.png", under)
        made += [curves, cost] if table.boundary else [cost, curves]
    drawn = [picture for picture in made if picture]
    _remove_others(table.name, folder, {picture.name for picture in drawn})
    return drawn


def _remove_others(name: str, folder: Path, drawn: set[str]) -> None:
    """Pictures of an earlier report on a table, which would no longer be its own."""
    kinds = [f"{name}-{kind}{end}.png" for kind in ("cost", "boundary") for end in ENDS]
    for old in (folder / kind for kind in kinds if kind not in drawn):
        old.unlink(missing_ok=True)


def _cost(
    table: TableResult, looks: Mapping[RowResult, Sequence[SeedResult]], path: Path, under: str
) -> Picture | None:
    """Accuracy over multiply-adds; where rows cost all the same, there is nothing to see."""
    points = {row: found[0] for row in looks if len(found := multiply_adds(row)) == 1}
    if len(set(points.values())) < 2:
        return None
    figure, axes = _figure(0)
    main = table.scores[0]
    printed = _printed(table, main)
    if printed:
        axes.scatter(*zip(*printed, strict=True), color="0.75", label="paper")
    for number, (row, cost) in enumerate(sorted(points.items(), key=lambda point: point[1])):
        values = [score(look, main) for look in looks[row]]
        error = stdev(values) if len(values) > 1 else None
        label = "here" if not number else None
        axes.errorbar(cost, mean(values), error, fmt="o", color="C0", capsize=3, label=label)
        place = (cost, mean(values))
        beside = BESIDE[number % len(BESIDE)]
        axes.annotate(f"{row.number}", place, beside, **NUMBER)
    _logarithmic(axes, [*points.values(), *(cost for cost, _ in printed)])
    axes.margins(0.08)
    axes.set_xlabel("multiply-adds by the paper's rule, 10⁹")
    axes.set_ylabel(f"{TITLES[main]}, %")
    if printed:
        axes.legend(fontsize="small")
    says = f"{TITLES[main]} over multiply-adds{under}; a number is that of a row"
    return _save(figure, path, says)


def _printed(table: TableResult, main: Score) -> list[tuple[float, float]]:
    """Multiply-adds and main score of the paper's rows; none where those here are of other
    networks."""
    papers = [row.paper for row in table.rows] if table.as_paper else []
    return [
        (paper.multiply_adds, printed)
        for paper in papers
        if paper.multiply_adds is not None and (printed := getattr(paper, main)) is not None
    ]


def _logarithmic(axes: "Axes", costs: Sequence[float]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    if max(costs) < 3 * min(costs):
        return  # a scale with hardly a tick on it
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _boundary(
    table: TableResult, looks: Mapping[RowResult, Sequence[SeedResult]], path: Path, under: str
) -> Picture | None:
    """MIoU over the width of the band around object borders, a curve for each row."""
    curves = {row: curve for row, found in looks.items() if (curve := mean_bands(found))}
    if not curves:
        return None
    figure, axes = _figure(len(curves))
    for i, (row, curve) in enumerate(curves.items()):
        style = STYLES[i // 10 % len(STYLES)]
        title = row_title(table, row).replace("$", r"\$")  # no formula
        label = f"{row.number}: {title}"
        axes.plot(list(curve), list(curve.values()), style, marker="o", markersize=3, label=label)
    axes.set_xlabel("width of the band around object borders, pixels")
    axes.set_ylabel("mIoU in the band, %")
    figure.legend(loc="outside lower left", fontsize="small", ncols=_legend_columns(len(curves)))
    says = f"mIoU in bands around object borders{under}, a curve for each row"
    return _save(figure, path, says)


def mean_bands(looks: Sequence[SeedResult]) -> dict[float, float]:
    """MIoU in percent by the band's width, averaged over a row's trainings; the widths that all of
    them have."""
    each = [
        {float(b["width"]): b["mIoU"] for b in bands_of(e) if b["mIoU"] is not None}
        for look in looks
        if (e := look.evaluation)
    ]
    return {w: mean(found[w] for found in each) for w in each[0] if all(w in f for f in each)}


def row_title(table: TableResult, row: RowResult) -> str:
    """The cells of a row in a line; what is ticked goes by its column's name, a bare number has it
    in front."""
    said = []
    for column, cell in zip(table.columns, row.cells, strict=True):
        if cell is True:
            said.append(column)
        elif cell is not False and cell != "":
            bare = str(cell).replace(".", "").replace("-", "").isdigit()
            said.append(f"{column} {cell}" if bare else str(cell))
    return ", ".join(said) or TICK


def _figure(legend: int) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    lines = -(-legend // _legend_columns(legend))
    figure = Figure(figsize=(WIDTH, HEIGHT + LINE * lines), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes


def _legend_columns(entries: int) -> int:
    return 2 if entries > 8 else 1


def _save(figure: "Figure", path: Path, says: str) -> Picture:
    with atomic_write(path) as draft:
        figure.savefig(draft, format="png", dpi=DPI, metadata={"Software": None})
    width, height = figure.get_size_inches()
    return Picture(path.name, says, (round(width * DPI), round(height * DPI)))
