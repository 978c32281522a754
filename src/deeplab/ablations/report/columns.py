"""From the results of a table to its columns."""

from collections.abc import Mapping
from itertools import chain
from statistics import mean, stdev

from deeplab.ablations.report.costs import Part, costs, number_cell
from deeplab.ablations.report.results import (
    RowResult,
    SeedResult,
    TableResult,
    narrowest_band,
    score,
)
from deeplab.ablations.report.sheet import Cell, Column
from deeplab.ablations.report.significance import Comparison
from deeplab.ablations.tables import ERRORS, TITLES, Score

TICK = "✓"

Comparisons = Mapping[tuple[int, int, Score], Comparison | None]
"""By row number, condition and score."""


def columns(table: TableResult, compared: Comparisons) -> list[Part]:
    """All that a table could have; columns that no row fills among them."""
    return [
        (Column("row", number=True, of_row=True), lambda row: Cell(str(row.number))),
        *(_label(title, i) for i, title in enumerate(table.columns)),
        *chain.from_iterable(_scored(table, name, compared) for name in table.scores),
        *_band(table),
        *costs(),
        (Column("remark", data_only=True), lambda row: Cell(row.status)),
    ]


def _label(title: str, index: int) -> Part:
    def cell(row: RowResult) -> Cell:
        value = row.cells[index]
        return Cell((TICK if value else "") if isinstance(value, bool) else str(value))

    return Column(title, of_row=True), cell


def _scored(table: TableResult, score: Score, compared: Comparisons) -> list[Part]:
    """All about one score: what the paper prints, and what was measured under each condition."""

    def printed(row: RowResult) -> Cell:
        return number_cell(getattr(row.paper, score))

    title = TITLES[score]
    column = Column("paper", f"{title}, %", number=True, name=f"{title} paper")
    conditions = range(max(1, len(table.conditions)))
    measured = [_Measured(table, i, compared, score).columns() for i in conditions]
    return [(column, printed), *chain.from_iterable(measured)]


class _Measured:
    """One score under one of the conditions: alone, and against others of the same."""

    def __init__(
        self, table: TableResult, condition: int, compared: Comparisons, score: Score
    ) -> None:
        self.table, self.condition, self.compared = table, condition, compared
        self.score = score
        self.reference = table.one_reference
        self.best = best_row(table, condition, compared, score)

    def columns(self) -> list[Part]:
        letter = self.table.letter(self.condition)
        under = f" under {letter}" if letter else ""
        name, scored = f"{TITLES[self.score]}{under}", bool(self.table.conditions)
        first = self.score == self.table.scores[0]
        group = f"{name}, %" if scored else ""
        against = f"against row {self.reference}" if self.reference else "against its reference"
        return [
            (Column("here", group, number=scored, name=f"{name} here"), self.here),
            (Column("to paper", group, number=True, name=f"{name} to paper"), self.to_paper),
            (Column(against, group, name=f"{name} {against}"), self.against),
            *(
                [(Column("num_seeds", group, number=True, name=f"seeds{under}"), self.seeds)]
                * first
            ),
        ]

    def _looks(self, row: RowResult) -> list[SeedResult]:
        return self.table.under(row, self.condition)

    def _values(self, row: RowResult) -> list[float]:
        return [score(look, self.score) for look in self._looks(row)]

    def here(self, row: RowResult) -> Cell:
        values = self._values(row)
        if not values:
            first = self.score == self.table.scores[0] and not self.condition
            empty = row.status if first and not row.scored else ""
            return Cell(empty, faint=True, wide=True, data={})
        spread = stdev(values) if len(values) > 1 else None
        text = f"{mean(values):.2f}" + (f" ± {spread:.2f}" if spread is not None else "")
        strong = row.number == self.best
        return Cell(text, strong=strong, data={"": mean(values), ", deviation": spread})

    def to_paper(self, row: RowResult) -> Cell:
        values, printed = self._values(row), getattr(row.paper, self.score)
        if not values or printed is None:
            return Cell()
        value = mean(values) - printed
        return Cell(signed(value), faint=not self.table.as_paper, data={"": value})

    def against(self, row: RowResult) -> Cell:
        if row.number == self.reference and self._looks(row):
            return Cell("reference", faint=True, data={})
        found = self.compared.get((row.number, self.condition, self.score))
        named = f"row {found.reference}: " if found and not self.reference else ""
        return _compared(found, named) if found else Cell()

    def seeds(self, row: RowResult) -> Cell:
        number = len(self._looks(row))
        return Cell(str(number), data={"": number}) if number else Cell()


def best_row(table: TableResult, condition: int, compared: Comparisons, name: Score) -> int | None:
    """The row with the highest score, or the lowest error, if all are tested against one row and it
    is better than that one by more than noise; that of training again is known where there are
    several seeds, or where both are looks at the same trainings."""
    sign = -1 if name in ERRORS else 1
    looks = {row.number: table.under(row, condition) for row in table.rows}
    means = {
        n: sign * mean(score(look, name) for look in found) for n, found in looks.items() if found
    }
    if not means or table.one_reference is None:
        return None
    best = max(means, key=lambda number: means[number])
    found = compared.get((best, condition, name))
    if not found or not found.difference or not (found.paired or min(found.seeds) > 1):
        return None
    low, high = found.difference.low, found.difference.high
    return best if (low > 0 if sign > 0 else high < 0) else None


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
