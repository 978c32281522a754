"""Columns of a table in a report."""

from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import mean, stdev

from deeplab.ablations.report.costs import TableColumn, cost_columns, number_cell
from deeplab.ablations.report.row_results import (
    RowResult,
    SeedResult,
    TableResult,
    get_score,
    narrowest_band_miou,
)
from deeplab.ablations.report.significance import Comparison, evaluations_of
from deeplab.ablations.tables import Score
from deeplab.metrics.definitions import METRICS, format_percent
from deeplab.utils.text import MINUS
from deeplab.utils.text_table import Cell, Column

TICK = "✓"

Comparisons = Mapping[tuple[int, int, Score], Comparison | None]
"""Comparisons by row number, condition and score."""


def table_columns(table: TableResult, comparisons: Comparisons, folder: Path) -> list[TableColumn]:
    """Return all columns that a table can have, including those that are empty in all rows.

    Args:
        table: results of the table.
        comparisons: comparisons of the rows with their reference rows.
        folder: folder of the report, which links are relative to.
    """
    return [
        (Column("row", number=True, identifies_row=True), lambda row: Cell(str(row.number))),
        *(_setting_column(title, i) for i, title in enumerate(table.columns)),
        *chain.from_iterable(_score_columns(table, name, comparisons) for name in table.scores),
        *_other_scores(table),
        *_band_columns(table),
        *cost_columns(table, folder),
        (Column("remark", data_only=True), lambda row: Cell(row.status)),
    ]


def _setting_column(title: str, index: int) -> TableColumn:
    def cell(row: RowResult) -> Cell:
        value = row.cells[index]
        return Cell((TICK if value else "") if isinstance(value, bool) else str(value))

    return Column(title, identifies_row=True), cell


def _score_columns(table: TableResult, score: Score, comparisons: Comparisons) -> list[TableColumn]:
    """Return the columns of a score: the paper's value and those measured under each condition."""

    def printed(row: RowResult) -> Cell:
        return number_cell(getattr(row.paper, score))

    title = METRICS[score].label
    column = Column("paper", f"{title}, %", number=True, name=f"{title} paper")
    conditions = range(max(1, len(table.conditions)))
    measured = [_MeasuredColumns(table, i, comparisons, score).columns() for i in conditions]
    return [(column, printed), *chain.from_iterable(measured)]


def _other_scores(table: TableResult) -> list[TableColumn]:
    """Return columns of the other metrics for the CSV file, for each condition."""

    def cell(row: RowResult, key: str, condition: int) -> Cell:
        scored = evaluations_of(table.scored_under(row, condition))
        values = [v for e in scored if (v := e.result.value(key)) is not None]
        return Cell(format_percent(mean(values)), data={"": mean(values)}) if values else Cell()

    return [
        (
            Column(f"{metric.label}{_under(table, i)}", data_only=True),
            partial(cell, key=metric.key, condition=i),
        )
        for i, evaluations in enumerate(table.conditions)
        for metric in dict.fromkeys(metric for e in evaluations for metric in e.result.metrics)
        if metric.key not in table.scores
    ]


def _under(table: TableResult, condition: int) -> str:
    """Return the end of the name of a score; empty if all have the same conditions."""
    letter = table.letter(condition)
    return f" under {letter}" if letter else ""


class _MeasuredColumns:
    """Columns of one score under one condition: value, differences and number of seeds."""

    def __init__(
        self, table: TableResult, condition: int, comparisons: Comparisons, score: Score
    ) -> None:
        self.table, self.condition, self.comparisons = table, condition, comparisons
        self.score = score
        self.reference = table.common_reference
        self.best = best_row(table, condition, comparisons, score)

    def columns(self) -> list[TableColumn]:
        under = _under(self.table, self.condition)
        name, scored = f"{METRICS[self.score].label}{under}", bool(self.table.conditions)
        first = self.score == self.table.scores[0]
        group = f"{name}, %" if scored else ""
        versus = f"vs. row {self.reference}" if self.reference else "vs. reference"
        if not self.table.prints_paper:
            return [
                (Column(f"{name}, %", number=scored, name=name), self.here),
                (Column(versus, name=f"{name} {versus}"), self.versus_reference),
                (Column(self._noise_title(), name=f"{name} more than noise"), self.more_than_noise),
                *([(Column("seeds", number=True, name=f"seeds{under}"), self.seeds)] * first),
            ]
        return [
            (Column("here", group, number=scored, name=f"{name} here"), self.here),
            (
                Column("minus paper", group, number=True, name=f"{name} minus paper"),
                self.minus_paper,
            ),
            (Column(versus, group, name=f"{name} {versus}"), self.versus_reference),
            *([(Column("seeds", group, number=True, name=f"seeds{under}"), self.seeds)] * first),
        ]

    def _seed_results(self, row: RowResult) -> list[SeedResult]:
        return self.table.scored_under(row, self.condition)

    def _values(self, row: RowResult) -> list[float]:
        return [get_score(s, self.score) for s in self._seed_results(row)]

    def here(self, row: RowResult) -> Cell:
        values = self._values(row)
        if not values:
            first = self.score == self.table.scores[0] and not self.condition
            status = row.status if first and not row.scored else ""
            return Cell(status, faint=True, wide=True, data={})
        deviation = stdev(values) if len(values) > 1 else None
        text = f"{mean(values):.2f}" + (f" ± {deviation:.2f}" if deviation is not None else "")
        strong = row.number == self.best
        return Cell(text, strong=strong, data={"": mean(values), ", deviation": deviation})

    def minus_paper(self, row: RowResult) -> Cell:
        values, printed = self._values(row), getattr(row.paper, self.score)
        if not values or printed is None:
            return Cell()
        value = mean(values) - printed
        return Cell(format_signed(value), faint=not self.table.as_paper, data={"": value})

    def versus_reference(self, row: RowResult) -> Cell:
        """Return the cell of the difference, with a judgment on it where it has no own column."""
        if row.number == self.reference and self._seed_results(row):
            return Cell("reference", faint=True, data={})
        comparison = self.comparisons.get((row.number, self.condition, self.score))
        if not comparison:
            return Cell()
        prefix = "" if self.reference else f"row {comparison.reference}: "
        return _comparison_cell(comparison, prefix, judged=self.table.prints_paper)

    def more_than_noise(self, row: RowResult) -> Cell:
        comparison = self.comparisons.get((row.number, self.condition, self.score))
        if not comparison or not comparison.difference:
            return Cell()
        noise = comparison.difference.within_noise
        return Cell("no" if noise else "yes", faint=noise, data={})

    def _noise_title(self) -> str:
        """Return the heading of the judgment, which with one seed is on the images alone."""
        found = [
            c
            for (_, condition, score), c in self.comparisons.items()
            if c and c.difference and (condition, score) == (self.condition, self.score)
        ]
        one_seed = found and all(1 in c.seeds and not c.paired for c in found)
        return "more than noise of images" if one_seed else "more than noise"

    def seeds(self, row: RowResult) -> Cell:
        number = len(self._seed_results(row))
        return Cell(str(number), data={"": number}) if number else Cell()


def best_row(
    table: TableResult, condition: int, comparisons: Comparisons, name: Score
) -> int | None:
    """Return the number of the row with the highest score (or the lowest error).

    The result is None unless all rows are tested against the same row, the best one is better than
    that row by more than noise, and the noise between runs is known: with several seeds, or if both
    rows evaluate the same runs.
    """
    sign = 1 if METRICS[name].higher_is_better else -1
    seed_results = {row.number: table.scored_under(row, condition) for row in table.rows}
    means = {
        number: sign * mean(get_score(s, name) for s in results)
        for number, results in seed_results.items()
        if results
    }
    if not means or table.common_reference is None:
        return None
    best = max(means, key=lambda number: means[number])
    comparison = comparisons.get((best, condition, name))
    if not comparison or not comparison.difference:
        return None
    if not (comparison.paired or min(comparison.seeds) > 1):
        return None
    low, high = comparison.difference.low, comparison.difference.high
    return best if (low > 0 if sign > 0 else high < 0) else None


def _comparison_cell(comparison: Comparison, prefix: str, *, judged: bool) -> Cell:
    """Return the cell of a difference with its interval.

    Args:
        comparison: the comparison; a note below the table has the reason if there is none.
        prefix: start of the text.
        judged: say if the difference is within noise.
    """
    if comparison.difference is None:
        return Cell(f"{prefix}not comparable, see below", faint=True, data={})
    measured, low, high = (100 * value for value in comparison.difference)
    noise = comparison.difference.within_noise
    decimals = 2  # enough that the interval is not shown as +0.00 to +0.00
    while round(max(abs(low), abs(high)), decimals) == 0 and decimals < 6:
        decimals += 1
    value, *ends = (format_signed(number, decimals) for number in (measured, low, high))
    interval = f"({' to '.join(ends)})"
    text = f"within noise {interval}" if noise and judged else f"{value} {interval}"
    return Cell(
        f"{prefix}{'equal scores' if comparison.is_equal else text}",
        faint=noise,
        data={"": measured, ", low": low, ", high": high, ", within noise": noise},
    )


def band_gain(table: TableResult, row: RowResult) -> float | None:
    """Return the gain in mIoU over the row's reference in the narrowest band, in points.

    The band lies around object borders. The value is None for rows without a gain in the paper.
    """
    if row.reference is None or row.paper.narrowest_band_gain is None:
        return None
    reference_row = table.rows[row.reference - 1]
    for condition in range(len(table.conditions)):
        value = narrowest_band_miou(table.scored_under(row, condition))
        reference = narrowest_band_miou(table.scored_under(reference_row, condition))
        if value is not None and reference is not None:
            return value - reference
    return None


def _band_columns(table: TableResult) -> list[TableColumn]:
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


def format_signed(value: float, decimals: int = 2) -> str:
    """Return a difference in points with its sign."""
    return f"{value:+.{decimals}f}".replace("-", MINUS)
