"""What came out for the rows of a table, however they were found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

from deeplab.ablations.run_index import Run
from deeplab.ablations.tables import ERRORS, Paper, Score
from deeplab.evaluation.comparison import group_comparable
from deeplab.evaluation.evaluation_folder import Evaluation

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

NOTHING_PRINTED = Paper()

NOTHING_LABELED = "no labeled pixel"
"""Why a network that was evaluated may have no score."""


@dataclass(frozen=True)
class SeedResult:
    """One training of a row, as the row looks at it."""

    name: str
    """Of the training in this report, such as R3."""
    seed: int
    run: Run | None = None
    evaluation: Evaluation | None = None
    archive: Path | None = None
    """The predictions for a test server, where that has the masks."""
    problem: str = ""
    """Why there is no score; empty if there is one."""

    @property
    def scored(self) -> bool:
        """Whether there is a score."""
        return self.evaluation is not None and is_scored(self.evaluation.result)


@dataclass(frozen=True, eq=False)
class RowResult:
    """One row of a table."""

    number: int
    """From 1."""
    cells: tuple[bool | int | str, ...]
    looks: tuple[SeedResult, ...] = ()
    """One for each seed."""
    remark: str = ""
    """Why it was not to be run; empty if it was."""
    paper: Paper = NOTHING_PRINTED
    reference: int | None = None
    """The number of the row that it is tested against; none for the reference itself."""

    @property
    def scored(self) -> list[SeedResult]:
        """The trainings that have a score."""
        return [look for look in self.looks if look.scored]

    @property
    def evaluations(self) -> list[Evaluation]:
        """What there is, without a score too."""
        return [look.evaluation for look in self.looks if look.evaluation]

    @property
    def runs(self) -> list[Run]:
        """Of the seeds, those that there are."""
        return [look.run for look in self.looks if look.run]

    @property
    def status(self) -> str:
        """Why scores are missing; empty if none is."""
        problems = {look.seed: look.problem for look in self.looks if look.problem}
        if not problems:
            return self.remark
        said: dict[str, list[str]] = {}
        for seed, problem in problems.items():
            said.setdefault(problem, []).append(str(seed))
        if len(said) == 1 and len(problems) == len(self.looks):
            return next(iter(said))
        parts = [
            f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)}: {problem}"
            for problem, seeds in said.items()
        ]
        return f"{len(self.scored)} of {len(self.looks)} seeds; {'; '.join(parts)}"


@dataclass(frozen=True)
class TableResult:
    """A table, and all that its report is made of."""

    name: str
    """Of its files."""
    title: str
    setting: str
    columns: tuple[str, ...]
    rows: tuple[RowResult, ...]
    scores: tuple[Score, ...] = ("mIoU",)
    boundary: bool = False
    """Whether its main picture is the curve around object borders."""
    as_paper: bool = True
    """Whether its rows are trained on what the paper's were, so that differences to the paper say
    something."""

    @cached_property
    def conditions(self) -> list[list[Evaluation]]:
        """Evaluations with a score by what they were measured under, but for the strategy."""
        looks = [look.evaluation for row in self.rows for look in row.scored]
        return group_comparable([evaluation for evaluation in looks if evaluation])

    @cached_property
    def _condition_of(self) -> dict[Path, int]:
        return {e.folder.path: i for i, group in enumerate(self.conditions) for e in group}

    def under(self, row: RowResult, condition: int) -> list[SeedResult]:
        """A row's trainings with a score under one of the conditions."""
        return [
            look
            for look in row.scored
            if look.evaluation and self._condition_of[look.evaluation.folder.path] == condition
        ]

    def letter(self, condition: int) -> str:
        """What conditions are called where there are several."""
        return LETTERS[condition] if len(self.conditions) > 1 else ""

    @property
    def one_reference(self) -> int | None:
        """The number of the row that all others are tested against, if it is one and the same."""
        found = {row.reference for row in self.rows if row.reference}
        return found.pop() if len(found) == 1 else None


def score(look: SeedResult, name: Score = "mIoU") -> float:
    """One of its scores, in percent."""
    assert look.evaluation
    return float(look.evaluation.result[name])


def is_scored(result: Mapping[str, Any]) -> bool:
    """Whether a result has the score of its kind: nothing labeled leaves none."""
    return any(result.get(name) is not None for name in scores_of(result))


def scores_of(result: Mapping[str, Any]) -> tuple[Score, ...]:
    """The scores of a segmentation network, or of a classifier."""
    return ERRORS if ERRORS[0] in result else ("mIoU",)


def narrowest_band(looks: Sequence[SeedResult]) -> float | None:
    """MIoU in percent in the narrowest band around object borders, over the trainings."""
    bands = [b for look in looks if look.evaluation and (b := bands_of(look.evaluation))]
    if not bands or len({found[0]["width"] for found in bands}) > 1:
        return None
    found = [b[0]["mIoU"] for b in bands]
    return None if None in found else mean(found)


def bands_of(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Width in pixels and mIoU of each band around object borders, the narrowest first."""
    found = (evaluation.result.get("boundary") or {}).get("bands") or []
    return sorted(found, key=lambda band: float(band["width"]))
