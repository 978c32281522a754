"""Comparison of a row with its reference row."""

from collections.abc import Sequence
from typing import NamedTuple

from deeplab.ablations.report.row_results import RowResult, SeedResult, TableResult
from deeplab.ablations.report.statistics import (
    ClassDifferences,
    Difference,
    Sampler,
    bootstrap_classes,
    bootstrap_difference,
)
from deeplab.ablations.tables import Score
from deeplab.evaluation.evaluation_folder import Evaluation
from deeplab.utils.program import command
from deeplab.utils.text import name_some


class Comparison(NamedTuple):
    """Comparison of a row with its reference row."""

    reference: int
    """Number of the reference row."""
    difference: Difference | None = None
    problem: str = ""
    """Reason why the rows cannot be compared; empty if they are."""
    paired: bool = False
    """True if both rows evaluate the same runs."""
    seeds: tuple[int, int] = (0, 0)
    """Numbers of runs of the row and of its reference."""

    @property
    def is_equal(self) -> bool:
        """True if both rows have the same score on every draw of the images."""
        return self.difference is not None and not any(self.difference)


def compare_with_reference(
    table: TableResult, row: RowResult, condition: int, score: Score, sampler: Sampler
) -> Comparison | None:
    """Compare a score of a row with that of its reference row under one condition.

    The result is None if the row has no score under this condition or is the reference itself.
    """
    candidate = table.scored_under(row, condition)
    if row.reference is None or not candidate:
        return None
    reference_row = table.rows[row.reference - 1]
    reference = table.scored_under(reference_row, condition)
    if not reference:
        problem = (
            "was measured under other conditions" if reference_row.scored else "has no score yet"
        )
        return Comparison(row.reference, problem=f"row {row.reference} {problem}")
    if problem := _image_mismatch(evaluations_of(candidate), evaluations_of(reference)):
        return Comparison(row.reference, problem=problem)
    candidate, reference, paired = _sort_by_run(candidate, reference)
    difference = bootstrap_difference(
        sampler.sample(evaluations_of(candidate), score),
        sampler.sample(evaluations_of(reference), score),
        paired=paired,
    )
    seeds = (len(candidate), len(reference))
    return Comparison(row.reference, difference, paired=paired, seeds=seeds)


def class_differences(
    table: TableResult, row: RowResult, condition: int, sampler: Sampler
) -> ClassDifferences | None:
    """Return the class IoUs of a row minus those of its reference; None without a comparison."""
    comparison = compare_with_reference(table, row, condition, "mIoU", sampler)
    if comparison is None or comparison.problem:
        return None
    reference_row = table.rows[comparison.reference - 1]
    candidate, reference, paired = _sort_by_run(
        *(table.scored_under(r, condition) for r in (row, reference_row))
    )
    return bootstrap_classes(
        sampler.sample_classes(evaluations_of(candidate)),
        sampler.sample_classes(evaluations_of(reference)),
        paired=paired,
    )


def evaluations_of(seed_results: Sequence[SeedResult]) -> list[Evaluation]:
    """Return the evaluations that exist."""
    return [s.evaluation for s in seed_results if s.evaluation]


def _sort_by_run(
    candidate: Sequence[SeedResult], reference: Sequence[SeedResult]
) -> tuple[list[SeedResult], list[SeedResult], bool]:
    """Return both sorted by their runs, and whether the runs are the same."""
    first, second = (sorted(results, key=_run_path) for results in (candidate, reference))
    return first, second, [_run_path(s) for s in first] == [_run_path(s) for s in second]


def _run_path(seed_result: SeedResult) -> str:
    return str(seed_result.run.folder.path.resolve()) if seed_result.run else ""


def _image_mismatch(candidate: Sequence[Evaluation], reference: Sequence[Evaluation]) -> str:
    """Return why evaluations are not on the same images; empty if they are."""
    first: Evaluation | None = None
    for evaluation in (*reference, *candidate):
        if not evaluation.folder.images.is_file():
            run = evaluation.result.run
            return (
                f"{run} has no counts of single images; {command('evaluate')} run=... writes them"
            )
        first = first or evaluation
        mismatch = sorted({*evaluation.ids} ^ {*first.ids})
        if mismatch:
            return f"not the same images: {len(mismatch)} are in one only ({name_some(mismatch)})"
    return ""
