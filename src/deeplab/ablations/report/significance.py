"""A row against its reference."""

from collections.abc import Sequence
from typing import NamedTuple

from deeplab.ablations.report.results import RowResult, SeedResult, TableResult
from deeplab.ablations.report.statistics import Difference, Sampler, difference
from deeplab.ablations.tables import Score
from deeplab.evaluation.evaluation_folder import Evaluation

NAMED = 3
"""Images that a message names."""


class Comparison(NamedTuple):
    """Of a row with its reference."""

    reference: int
    """The row's number."""
    difference: Difference | None = None
    why: str = ""
    """Why they cannot be compared; empty if they are."""
    paired: bool = False
    """Whether both are looks at the same trainings."""
    seeds: tuple[int, int] = (0, 0)
    """Trainings of the row and of its reference."""


def compare(
    table: TableResult, row: RowResult, condition: int, score: Score, sampler: Sampler
) -> Comparison | None:
    """A score of a row against its reference's under the conditions of that number; None where it
    has none under them, or is the reference."""
    ours = table.under(row, condition)
    if row.reference is None or not ours:
        return None
    other = table.rows[row.reference - 1]
    theirs = table.under(other, condition)
    if not theirs:
        why = "was measured under other conditions" if other.scored else "has no score yet"
        return Comparison(row.reference, why=f"row {row.reference} {why}")
    if why := _unlike(_evaluations(ours), _evaluations(theirs), sampler):
        return Comparison(row.reference, why=why)
    ours, theirs, paired = _aligned(ours, theirs)
    found = difference(
        sampler.arm(_evaluations(ours), score),
        sampler.arm(_evaluations(theirs), score),
        paired=paired,
    )
    return Comparison(row.reference, found, paired=paired, seeds=(len(ours), len(theirs)))


def _evaluations(looks: Sequence[SeedResult]) -> list[Evaluation]:
    return [look.evaluation for look in looks if look.evaluation]


def _aligned(
    ours: Sequence[SeedResult], theirs: Sequence[SeedResult]
) -> tuple[list[SeedResult], list[SeedResult], bool]:
    """Both in the order of their runs, and whether these are the same ones."""
    first, second = (sorted(looks, key=_run) for looks in (ours, theirs))
    return first, second, [_run(look) for look in first] == [_run(look) for look in second]


def _run(look: SeedResult) -> str:
    return str(look.run.folder.path.resolve()) if look.run else ""


def _unlike(ours: Sequence[Evaluation], theirs: Sequence[Evaluation], sampler: Sampler) -> str:
    """Why evaluations are not of the same images; empty if they are."""
    first: Evaluation | None = None
    for evaluation in (*theirs, *ours):
        if not evaluation.folder.images.is_file():
            run = evaluation.result["run"]
            return f"{run} has no counts of single images; evaluate.py run=... leaves them"
        first = first or evaluation
        here, there = set(sampler.ids(evaluation)), set(sampler.ids(first))
        if odd := sorted(here ^ there):
            more = ", ..." if len(odd) > NAMED else ""
            return (
                f"not the same images: {len(odd)} are in one only ({', '.join(odd[:NAMED])}{more})"
            )
    return ""
