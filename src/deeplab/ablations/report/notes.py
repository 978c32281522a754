"""What is to be known of a table's numbers, and of the whole report's."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from deeplab.ablations.report.columns import Comparisons, band_gain, best_row
from deeplab.ablations.report.costs import UNLIKE, speeds, unlike_paper
from deeplab.ablations.report.results import TableResult
from deeplab.ablations.report.significance import Comparison
from deeplab.ablations.report.statistics import DRAWS, LEVEL
from deeplab.ablations.tables import ERRORS
from deeplab.tracking.protocol import differences

AGAINST = (
    "Against a row: the difference in points, and the interval that holds "
    f"{LEVEL:.0%} of {DRAWS:,} draws of the images, the same ones for both rows{{}}. Where it "
    "holds 0 the difference is within noise: neither row is better."
)

SAME_RUN = "Run: rows with the same R are looks at one and the same training."

FEW = 5
"""Seeds below which drawing among them understates how much they differ."""


def notes(table: TableResult, compared: Comparisons, tables: Sequence[TableResult]) -> list[str]:
    """What holds for a table."""
    return [
        *_conditions(table),
        *_partial(table),
        *_seeds([found for found in compared.values() if found and found.difference]),
        *_incomparable(table, compared),
        *_cost(table),
        *_shared(table, tables),
    ]


def legend(table: TableResult, compared: Comparisons) -> list[str]:
    """How the columns and marks of a table are to be read, in words that fit others too."""
    looks = [table.under(row, i) for row in table.rows for i in range(len(table.conditions))]
    tested = [found for found in compared.values() if found and found.difference]
    several = any(number > 1 for found in tested for number in found.seeds)
    conditions = range(len(table.conditions))
    bold = any(best_row(table, i, compared, s) for i in conditions for s in table.scores)
    of_errors = table.scores[0] in ERRORS
    printed = any(row.scored and getattr(row.paper, table.scores[0]) for row in table.rows)
    gained = any(band_gain(table, row) is not None for row in table.rows)
    said = {
        "Here: the mean over seeds; ± is the standard deviation between them (of n - 1).": any(
            len(found) > 1 for found in looks
        ),
        "To paper: here minus paper, in points.": printed and table.as_paper,
        "To paper: here minus paper, in points; in gray, since the rows here are not trained as "
        "the paper's (network, data or recipe): it does not say how well that was reproduced.": (
            printed and not table.as_paper
        ),
        AGAINST.format(", and of the seeds of both" if several else ""): bool(tested),
        "Each test stands for itself: of 20 rows that do not differ from their reference, one is "
        "expected to look as if it did.": bool(tested),
        "Bold: the highest score, where it is above the reference by more than noise. It is not "
        "tested against the other rows.": bold and not of_errors,
        "Bold: the lowest error, where it is below the reference's by more than noise. It is not "
        "tested against the other rows.": bold and of_errors,
        "Gain in the narrowest band: mIoU in the narrowest band around object borders minus the "
        "reference's. It has no interval, since bands are not counted image by image.": gained,
        SAME_RUN: _shares_runs(table),
    }
    return [text for text, there in said.items() if there]


def _conditions(table: TableResult) -> Iterator[str]:
    for i, group in enumerate(table.conditions):
        stamp = group[0].protocol
        letter = table.letter(i)
        yield (
            f"{f'Conditions {letter}: ' if letter else 'Measured on '}split {stamp['split']}, "
            f"{stamp['images']} images, {len(stamp['classes'])} classes, {stamp['precision']}, "
            f"{_seen(stamp)}."
        )
        if i:
            first = table.conditions[0][0].protocol
            why = "; ".join(differences(first, stamp, ignore=["strategy"]))
            yield (
                f"Scores under {letter} stand in columns of their own and are neither averaged nor "
                f"compared with those under A, which differ in: {why}."
            )


def _seen(stamp: Mapping[str, Any]) -> str:
    """What of an image is looked at."""
    if "crop" in stamp:
        return f"of each the {stamp['crop']} pixels"
    return f"images padded to at least {' x '.join(map(str, stamp['padded_to']))}"


def _partial(table: TableResult) -> Iterator[str]:
    """Rows that have a score, but not of all seeds."""
    rows: dict[str, list[int]] = {}
    for row in table.rows:
        if row.scored and row.status:
            rows.setdefault(row.status, []).append(row.number)
    for status, numbers in rows.items():
        yield f"{_rows(numbers)}: {status}."


def _rows(numbers: Sequence[int]) -> str:
    return f"{'Row' if len(numbers) == 1 else 'Rows'} {', '.join(map(str, numbers))}"


def _seeds(tested: Sequence[Comparison]) -> Iterator[str]:
    """What few trainings mean for the intervals; nothing for two looks at the same trainings, which
    have no noise of training between them."""
    seeds = [number for found in tested if not found.paired for number in found.seeds]
    if 1 in seeds:
        yield (
            "Rows with one seed: the noise between trainings is not in their intervals. Training "
            "again would move the scores by more than these say, so a row with one seed is not "
            "called the best."
        )
    if any(1 < number < FEW for number in seeds):
        yield f"Intervals that were drawn from fewer than {FEW} seeds are rather too narrow."


def _incomparable(table: TableResult, compared: Comparisons) -> Iterator[str]:
    rows: dict[tuple[str, str], list[int]] = {}
    for (row, condition, score), found in compared.items():
        if found and found.why and score == table.scores[0]:  # alike for the others
            rows.setdefault((found.why, table.letter(condition)), []).append(row)
    for (why, letter), numbers in rows.items():
        under = f" under {letter}" if letter else ""
        yield f"{_rows(numbers)}{under}: not comparable, {why}."


def _cost(table: TableResult) -> Iterator[str]:
    if any(unlike_paper(row) for row in table.rows):
        found = [
            cost["input_size"]
            for row in table.rows
            for e in row.evaluations
            if (cost := e.result.get("cost"))
        ]
        sizes = distinct(" x ".join(map(str, size)) for size in found)
        yield (
            f"{UNLIKE} more than 0.1 % from the paper's multiply-adds. Those here are of the "
            f"network of the row at {' or '.join(sizes)} pixels, by the paper's rule."
        )
    timed = [
        f"{e.result['machine']['accelerator']}, {e.result['machine']['precision']}"
        for row in table.rows
        for e in row.evaluations
        if speeds(row.looks, "latency") and e.result.get("machine")
    ]
    if timed:
        yield f"One image: inference time and peak memory on {' and on '.join(distinct(timed))}."


def _shared(table: TableResult, tables: Sequence[TableResult]) -> Iterator[str]:
    """Rows that show one and the same result, in this table and in others."""
    same: dict[tuple[Any, ...], list[str]] = {}
    for other in tables:
        for row in other.rows:
            if key := tuple(e.folder.path for e in row.evaluations):
                where = "row" if other is table else f"{other.name}, row"
                same.setdefault(key, []).append(f"{where} {row.number}")
    found = [" = ".join(rows) for rows in same.values() if len(rows) > 1]
    mine = [text for text in found if "row" in (part.split()[0] for part in text.split(" = "))]
    if mine:
        yield f"One and the same result, shown in several places: {'; '.join(mine)}."


def _shares_runs(table: TableResult) -> bool:
    runs = [look.name for row in table.rows for look in row.looks if look.run]
    return len(set(runs)) < len(runs)


def distinct(values: Iterable[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(values))
