"""From the results of a table to its columns."""

from collections.abc import Mapping
from itertools import chain
from statistics import mean, stdev

from deeplab.ablations.report.against import Comparison
from deeplab.ablations.report.costs import Part, costs, number_cell
from deeplab.ablations.report.results import (
    RowResult,
    TableResult,
    narrowest_band,
    score,
)
from deeplab.ablations.report.sheet import Cell, Column

TICK = "✓"

SCORES = {"mIoU": "mIoU, %", "top1_error": "top-1 error, %", "top5_error": "top-5 error, %"}

Comparisons = Mapping[tuple[int, int], Comparison | None]
"""By row number and condition."""


def columns(table: TableResult, compared: Comparisons) -> list[Part]:
    """All that a table could have; columns that no row fills among them."""
    several = len(table.conditions) > 1
    conditions = range(max(1, len(table.conditions)))
    return [
        (Column("row", number=True, of_row=True), lambda row: Cell(str(row.number))),
        *(_label(title, i) for i, title in enumerate(table.columns)),
        *(_printed(name) for name in table.scores),
        *chain.from_iterable(_measured(table, i, compared, several) for i in conditions),
        *_band(table),
        *costs(),
        (Column("remark", data_only=True), lambda row: Cell(row.status)),
    ]


def _label(title: str, index: int) -> Part:
    def cell(row: RowResult) -> Cell:
        value = row.cells[index]
        return Cell((TICK if value else "") if isinstance(value, bool) else str(value))

    return Column(title, of_row=True), cell


def _printed(name: str) -> Part:
    def cell(row: RowResult) -> Cell:
        return number_cell(getattr(row.paper, name))

    return Column("paper", SCORES[name], number=True, name=f"{name} paper"), cell


def _measured(
    table: TableResult, condition: int, compared: Comparisons, several: bool
) -> list[Part]:
    """The scores under one of the conditions: theirs alone, and against others of the same."""
    under = f" under {table.letter(condition)}" if several else ""
    name = f"mIoU{under}"
    group = f"{name}, %" if table.conditions else ""
    best = best_row(table, condition, compared)
    reference = table.one_reference

    def here(row: RowResult) -> Cell:
        looks = table.under(row, condition)
        if not looks:
            empty = "" if condition or row.scored else row.status
            return Cell(empty, faint=True, wide=True, data={})
        values = [score(look) for look in looks]
        spread = stdev(values) if len(values) > 1 else None
        text = f"{mean(values):.2f}" + (f" ± {spread:.2f}" if spread is not None else "")
        strong = row.number == best
        return Cell(text, strong=strong, data={"": mean(values), ", deviation": spread})

    def to_paper(row: RowResult) -> Cell:
        looks = table.under(row, condition)
        if not looks or row.paper.mIoU is None:
            return Cell()
        value = mean(map(score, looks)) - row.paper.mIoU
        return Cell(signed(value), faint=not table.as_paper, data={"": value})

    def against(row: RowResult) -> Cell:
        if row.number == reference and table.under(row, condition):
            return Cell("reference", faint=True, data={})
        found = compared.get((row.number, condition))
        named = f"row {found.reference}: " if found and not reference else ""
        return _compared(found, named) if found else Cell()

    def seeds(row: RowResult) -> Cell:
        number = len(table.under(row, condition))
        return Cell(str(number), data={"": number}) if number else Cell()

    title = f"against row {reference}" if reference else "against its reference"
    return [
        (Column("here", group, number=bool(table.conditions), name=f"{name} here"), here),
        (Column("to paper", group, number=True, name=f"{name} to paper"), to_paper),
        (Column(title, group, name=f"{name} {title}"), against),
        (Column("seeds", group, number=True, name=f"seeds{under}"), seeds),
    ]


def best_row(table: TableResult, condition: int, compared: Comparisons) -> int | None:
    """The row with the highest mIoU, if all are tested against one row and it is above that one by
    more than noise; that of training again is known where there are several seeds, or where both
    are looks at the same trainings."""
    looks = {row.number: table.under(row, condition) for row in table.rows}
    means = {number: mean(map(score, found)) for number, found in looks.items() if found}
    if not means or table.one_reference is None:
        return None
    best = max(means, key=lambda number: means[number])
    found = compared.get((best, condition))
    if not found or not found.difference or not (found.paired or min(found.seeds) > 1):
        return None
    return best if found.difference.low > 0 else None


def _compared(found: Comparison, named: str) -> Cell:
    if found.difference is None:
        return Cell(f"{named}not comparable", faint=True, data={})
    measured, low, high = (100 * value for value in found.difference)
    noise = found.difference.noise
    reach = f"({signed(low)} to {signed(high)})"
    return Cell(
        f"{named}within noise {reach}" if noise else f"{named}{signed(measured)} {reach}",
        faint=noise,
        data={"": measured, ", low": low, ", high": high, ", within noise": noise},
    )


def band_gain(table: TableResult, row: RowResult) -> float | None:
    """In the narrowest band around object borders, in points of mIoU above the row's reference;
    only of rows for which the paper prints it."""
    if row.reference is None or row.paper.narrowest_band_gain is None:
        return None
    for condition in range(len(table.conditions)):
        ours = narrowest_band(table.under(row, condition))
        theirs = narrowest_band(table.under(table.rows[row.reference - 1], condition))
        if ours is not None and theirs is not None:
            return ours - theirs
    return None


def _band(table: TableResult) -> list[Part]:
    group = "gain in the narrowest band, points"
    return [
        (
            Column("paper", group, number=True, name="band gain paper"),
            lambda row: number_cell(row.paper.narrowest_band_gain, "+.1f"),
        ),
        (
            Column("here", group, number=True, name="band gain here"),
            lambda row: number_cell(band_gain(table, row), "+.2f"),
        ),
    ]


def signed(value: float) -> str:
    """Points with two decimals."""
    return f"{value:+.2f}".replace("-", "−")
