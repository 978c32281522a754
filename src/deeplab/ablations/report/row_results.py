"""Results of the rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean

from deeplab.ablations.run_index import Run
from deeplab.ablations.tables import Paper, Score
from deeplab.evaluation.comparison import group_comparable
from deeplab.evaluation.evaluation_folder import Evaluation
from deeplab.tracking.result import Band

CONDITION_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

NO_PAPER_VALUES = Paper()

NO_LABELED_PIXELS = "no labeled pixel"
"""Reason why an evaluated network has no score."""


@dataclass(frozen=True)
class SeedResult:
    """Result of a row for one seed: a run and its evaluation."""

    name: str
    """Name of the run in this report, such as R3."""
    seed: int
    run: Run | None = None
    evaluation: Evaluation | None = None
    archive: Path | None = None
    """Predictions for a test server, if only the server has the masks."""
    problem: str = ""
    """Reason why there is no score; empty if there is one."""

    @property
    def scored(self) -> bool:
        """True if there is a score."""
        return self.evaluation is not None and self.evaluation.result.has_score


@dataclass(frozen=True, eq=False)
class RowResult:
    """Results of one row of a table."""

    number: int
    """Number of the row, from 1."""
    cells: tuple[bool | int | str, ...]
    seed_results: tuple[SeedResult, ...] = ()
    """One result for each seed."""
    remark: str = ""
    """Reason why the row is not run; empty if it is."""
    paper: Paper = NO_PAPER_VALUES
    reference: int | None = None
    """Number of the row that this row is tested against; None for the reference itself."""

    @property
    def scored(self) -> list[SeedResult]:
        """Seed results that have a score."""
        return [s for s in self.seed_results if s.scored]

    @property
    def evaluations(self) -> list[Evaluation]:
        """Existing evaluations, including those without a score."""
        return [s.evaluation for s in self.seed_results if s.evaluation]

    @property
    def runs(self) -> list[Run]:
        """Existing runs."""
        return [s.run for s in self.seed_results if s.run]

    @property
    def status(self) -> str:
        """Reason why scores are missing; empty if none is."""
        problems = {s.seed: s.problem for s in self.seed_results if s.problem}
        if not problems:
            return self.remark
        seeds_by_problem: dict[str, list[str]] = {}
        for seed, problem in problems.items():
            seeds_by_problem.setdefault(problem, []).append(str(seed))
        if len(seeds_by_problem) == 1 and len(problems) == len(self.seed_results):
            return next(iter(seeds_by_problem))
        parts = [
            f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)}: {problem}"
            for problem, seeds in seeds_by_problem.items()
        ]
        return f"{len(self.scored)} of {len(self.seed_results)} seeds; {'; '.join(parts)}"


@dataclass(frozen=True)
class TableResult:
    """Results of a table, from which its report is made."""

    name: str
    """Stem of the names of its files."""
    title: str
    setting: str
    columns: tuple[str, ...]
    rows: tuple[RowResult, ...]
    scores: tuple[Score, ...] = ("mIoU",)
    boundary_plot: bool = False
    """True if its main figure is the curve around object borders."""
    as_paper: bool = True
    """True if its rows are trained with the paper's networks, data and recipe, so that differences
    from the paper are meaningful."""
    untyped: tuple[str, ...] = ()
    """Lines on settings that differ between variants beside those that were typed."""

    @cached_property
    def conditions(self) -> list[list[Evaluation]]:
        """Evaluations that have a score, grouped by their conditions (except for the strategy)."""
        evaluations = [s.evaluation for row in self.rows for s in row.scored]
        return group_comparable([evaluation for evaluation in evaluations if evaluation])

    @cached_property
    def _condition_of(self) -> dict[Path, int]:
        return {e.folder.path: i for i, group in enumerate(self.conditions) for e in group}

    def scored_under(self, row: RowResult, condition: int) -> list[SeedResult]:
        """Return the seed results of a row that have a score under the given conditions."""
        return [
            s
            for s in row.scored
            if s.evaluation and self._condition_of[s.evaluation.folder.path] == condition
        ]

    def letter(self, condition: int) -> str:
        """Return the letter that names the conditions; empty if there are no others."""
        if len(self.conditions) == 1:
            return ""
        rounds, index = divmod(condition, len(CONDITION_LETTERS))
        return f"{CONDITION_LETTERS[index]}{rounds or ''}"

    @property
    def prints_paper(self) -> bool:
        """True if the paper's values stand beside those measured here."""
        return any(row.paper != NO_PAPER_VALUES for row in self.rows)

    @property
    def common_reference(self) -> int | None:
        """Number of the row that all others are tested against; None if there are several."""
        references = {row.reference for row in self.rows if row.reference}
        return references.pop() if len(references) == 1 else None


def get_score(seed_result: SeedResult, name: Score = "mIoU") -> float:
    """Return one of the scores, in percent."""
    assert seed_result.evaluation
    value = seed_result.evaluation.result.value(name)
    assert value is not None
    return value


def narrowest_band_miou(seed_results: Sequence[SeedResult]) -> float | None:
    """Return the mIoU in percent in the narrowest band around object borders, averaged over seeds.

    Evaluations without bands are left out. The value is None if no band is left, its score is
    missing in one of them, or the widths differ.
    """
    curves = [c for s in seed_results if s.evaluation and (c := boundary_bands(s.evaluation))]
    if not curves or len({curve[0].width for curve in curves}) > 1:
        return None
    values = [miou for curve in curves if (miou := curve[0].miou) is not None]
    return mean(values) if len(values) == len(curves) else None


def boundary_bands(evaluation: Evaluation) -> list[Band]:
    """Return the bands around object borders, the narrowest first."""
    boundary = evaluation.result.boundary
    return sorted(boundary.bands if boundary else (), key=lambda band: band.width)
