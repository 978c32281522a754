"""Notes on the numbers of a table, and the legend of a report."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from deeplab.ablations.report.columns import Comparisons, band_gain, best_row
from deeplab.ablations.report.costs import DIFFERS_MARK, differs_from_paper, measurements
from deeplab.ablations.report.row_results import TableResult
from deeplab.ablations.report.significance import Comparison
from deeplab.ablations.report.statistics import CONFIDENCE_LEVEL, NUM_DRAWS
from deeplab.ablations.tables import Score, row_numbers
from deeplab.evaluation.evaluation_folder import Evaluation
from deeplab.metrics.definitions import METRICS
from deeplab.tracking.evaluation_protocol import Protocol, differences
from deeplab.utils.text import pluralize

COMPARISON_LEGEND = (
    "Vs. row: the difference from that row in points, and the interval that contains "
    f"{CONFIDENCE_LEVEL:.0%} of {NUM_DRAWS:,} bootstrap draws of the images (the same draws for "
    "both rows){}. If the interval contains 0, the difference is within noise: this does not "
    "show which row is better."
)

SAME_RUN = "Run: rows with the same R number are evaluations of the same run."

FEW_SEEDS = 5
"""Number of seeds below which resampling them underestimates how much they differ."""


def table_notes(
    table: TableResult, comparisons: Comparisons, tables: Sequence[TableResult]
) -> list[str]:
    """Return the notes below a table."""
    return [
        *_conditions(table),
        *table.untyped,
        *_partial(table),
        *_seeds([c for c in comparisons.values() if c and c.difference]),
        *_not_comparable(table, comparisons),
        *_equal(table, comparisons),
        *_one_class(table),
        *_cost(table),
        *_shared_results(table, tables),
    ]


def table_legend(table: TableResult, comparisons: Comparisons) -> list[str]:
    """Return explanations of a table's columns and marks, worded so that tables can share them."""
    conditions = range(len(table.conditions))
    scored = [table.scored_under(row, i) for row in table.rows for i in conditions]
    tested = [c for c in comparisons.values() if c and c.difference]
    several_seeds = any(number > 1 for c in tested for number in c.seeds)
    bold = any(best_row(table, i, comparisons, s) for i in conditions for s in table.scores)
    is_error = not METRICS[table.scores[0]].higher_is_better
    printed = any(row.scored and getattr(row.paper, table.scores[0]) for row in table.rows)
    has_band_gain = any(band_gain(table, row) is not None for row in table.rows)
    explanations = {
        f"{'Here' if table.prints_paper else 'Scores'}: the mean over seeds; ± is their standard "
        "deviation (n - 1 in the denominator).": any(len(results) > 1 for results in scored),
        "Minus paper: our value minus the paper's, in points.": printed and table.as_paper,
        "Minus paper: our value minus the paper's, in points. It is gray because the rows here are "
        "not trained like the paper's (network, data or recipe): the difference does not say how "
        "well the paper's result was reproduced.": printed and not table.as_paper,
        COMPARISON_LEGEND.format(" and of the seeds of both" if several_seeds else ""): bool(
            tested
        ),
        "Each row is tested on its own: of 20 rows that do not differ from their reference, expect "
        "one to look as if it did.": bool(tested),
        "Bold: the highest score, if it is above the reference by more than noise. It is not "
        "tested against the other rows.": bold and not is_error,
        "Bold: the lowest error, if it is below the reference by more than noise. It is not "
        "tested against the other rows.": bold and is_error,
        "Gain in the narrowest band: mIoU in the narrowest band around object borders minus that "
        "of the reference. It has no interval, because bands are not counted image by "
        "image.": has_band_gain,
        SAME_RUN: _shares_runs(table),
    }
    return [text for text, applies in explanations.items() if applies]


def _conditions(table: TableResult) -> Iterator[str]:
    for i, group in enumerate(table.conditions):
        protocol = group[0].protocol
        letter = table.letter(i)
        yield (
            f"{f'Conditions {letter}: ' if letter else 'Measured on '}split {protocol.split}, "
            f"{protocol.images} images, {len(protocol.classes)} classes, "
            f"{protocol.precision}, {_input_area(protocol)}."
        )
        if i:
            first = table.conditions[0][0].protocol
            reasons = "; ".join(differences(first, protocol, ignore=["strategy"]))
            yield (
                f"Scores under {letter} have their own columns. They are neither averaged nor "
                f"compared with those under A, because the conditions differ: {reasons}."
            )


def _input_area(protocol: Protocol) -> str:
    """Return which part of an image the network sees."""
    if protocol.crop:
        return f"of each image the {protocol.crop} pixels"
    return f"images padded to at least {' x '.join(map(str, protocol.padded_to or ()))}"


def _partial(table: TableResult) -> Iterator[str]:
    """Name the rows that have a score, but not for all seeds."""
    rows: dict[str, list[int]] = {}
    for row in table.rows:
        if row.scored and row.status:
            rows.setdefault(row.status, []).append(row.number)
    for status, numbers in rows.items():
        yield f"{row_numbers(numbers)}: {status}."


def _seeds(tested: Sequence[Comparison]) -> Iterator[str]:
    """Explain the effect of few seeds on the intervals.

    Two evaluations of the same runs are left out, since no noise between runs separates them.
    """
    seeds = [number for c in tested if not c.paired for number in c.seeds]
    if 1 in seeds:
        yield (
            "Rows with one seed: their intervals do not include the noise between training runs. "
            "Another run would change the scores by more than the intervals show, so a row with "
            "one seed is never marked as the best."
        )
    if any(1 < number < FEW_SEEDS for number in seeds):
        yield f"Intervals drawn from fewer than {FEW_SEEDS} seeds are somewhat too narrow."


def _not_comparable(table: TableResult, comparisons: Comparisons) -> Iterator[str]:
    rows: dict[tuple[str, str], list[int]] = {}
    for (row, condition, score), comparison in comparisons.items():
        # the other scores have the same problems
        if comparison and comparison.problem and score == table.scores[0]:
            rows.setdefault((comparison.problem, table.letter(condition)), []).append(row)
    for (problem, letter), numbers in rows.items():
        under = f" under {letter}" if letter else ""
        yield f"{row_numbers(numbers)}{under}: not comparable, {problem}."


def _equal(table: TableResult, comparisons: Comparisons) -> Iterator[str]:
    rows: dict[tuple[int, Score], list[int]] = {}
    for (row, _, score), comparison in comparisons.items():
        if comparison and comparison.is_equal:
            rows.setdefault((comparison.reference, score), []).append(row)
    for (reference, score), numbers in rows.items():
        yield (
            f"{row_numbers(numbers)}: {METRICS[score].label} equal to that of row {reference} on "
            "every draw of the images, as when both networks predict one class everywhere."
        )


def _one_class(table: TableResult) -> Iterator[str]:
    """Name the results of networks that predict the same class everywhere."""
    results = [(row.number, s) for row in table.rows for s in row.scored]
    seeds: dict[int, list[str]] = {}
    for number, result in results:
        if result.evaluation and _predicts_one_class(result.evaluation):
            seeds.setdefault(number, []).append(str(result.seed))
    rows = [
        f"row {number}, {'seed' if len(found) == 1 else 'seeds'} {', '.join(found)}"
        for number, found in seeds.items()
    ]
    if rows:
        yield (
            f"One class is predicted everywhere in {sum(map(len, seeds.values()))} of "
            f"{pluralize(len(results), 'result')}, which the means contain: {'; '.join(rows)}."
        )


def _predicts_one_class(evaluation: Evaluation) -> bool:
    if evaluation.result.is_classifier or not evaluation.folder.images.is_file():
        return False
    return np.count_nonzero(evaluation.confusions.prediction.sum(0)) == 1


def _cost(table: TableResult) -> Iterator[str]:
    if any(differs_from_paper(row) for row in table.rows):
        input_sizes = [
            cost.input_size
            for row in table.rows
            for e in row.evaluations
            if (cost := e.result.cost)
        ]
        sizes = distinct(" x ".join(map(str, size)) for size in input_sizes)
        yield (
            f"{DIFFERS_MARK}: more than 0.1 % from the paper's multiply-adds. Those here are for "
            f"the row's network at {' or '.join(sizes)} pixels, by the paper's rule."
        )
    machines = [
        f"{machine.accelerator}, {machine.precision}"
        for row in table.rows
        for e in row.evaluations
        if measurements(row.seed_results, "latency") and (machine := e.result.machine)
    ]
    if machines:
        names = " and on ".join(distinct(machines))
        yield f"One image: inference time and peak memory on {names}."


def _shared_results(table: TableResult, tables: Sequence[TableResult]) -> Iterator[str]:
    """Name the rows that show the same result, in this table and in others."""
    rows_by_result: dict[tuple[Any, ...], list[str]] = {}
    for other in tables:
        for row in other.rows:
            if key := tuple(e.folder.path for e in row.evaluations):
                prefix = "row" if other is table else f"{other.name}, row"
                rows_by_result.setdefault(key, []).append(f"{prefix} {row.number}")
    shared = [" = ".join(rows) for rows in rows_by_result.values() if len(rows) > 1]
    relevant = [text for text in shared if "row" in (part.split()[0] for part in text.split(" = "))]
    if relevant:
        yield f"The same result appears in several rows: {'; '.join(relevant)}."


def _shares_runs(table: TableResult) -> bool:
    runs = [s.name for row in table.rows for s in row.seed_results if s.run]
    return len(set(runs)) < len(runs)


def distinct(values: Iterable[str]) -> list[str]:
    """Return each value once, in order."""
    return list(dict.fromkeys(values))
