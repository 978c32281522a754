"""What came out for each row, and how it differs from its reference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev
from typing import Any

from deeplab.ablations.report.statistics import Difference, difference
from deeplab.ablations.runs import Run
from deeplab.ablations.trainings import Asked, Training
from deeplab.evaluation.folder import Evaluation
from deeplab.protocol import differences

TICK = "✓"

Find = Callable[[Training], Run | None]


@dataclass(frozen=True)
class RowResult:
    """One row of a table."""

    label: tuple[str, ...]
    """What stands under the table's columns."""
    runs: tuple[Run, ...] = ()
    """Of its seeds, those that are there."""
    evaluations: tuple[Evaluation, ...] = ()
    """Of the runs, those that are there and were measured under the same conditions."""
    status: str = ""
    """Why something is missing; empty if nothing is."""
    paper: Mapping[str, float | None] | None = None
    reference: int | None = None
    """The number of the row that it is compared with, from 0."""
    of_training: bool = False
    """Whether its scores are those that training ended with."""

    @cached_property
    def scores(self) -> list[float]:
        """The mIoU of each seed, in percent."""
        measured = self.runs if self.of_training else self.evaluations
        found = [one.result.get("mIoU") for one in measured]
        return [100 * score for score in found if score is not None]

    @property
    def mean(self) -> float | None:
        return mean(self.scores) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """Between seeds, of the sample."""
        return stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def protocol(self) -> dict[str, Any] | None:
        return self.evaluations[0].protocol if self.evaluations else None

    def narrowest_band(self) -> float | None:
        """MIoU in percent in the narrowest band around object borders, over seeds."""
        bands = [e.result["boundary"]["bands"] for e in self.evaluations]
        found = [b[0]["mIoU"] for b in bands if b and b[0]["mIoU"] is not None]
        return 100 * mean(found) if found else None


def table_results(
    asked: Asked, name: str, found: Sequence[Training], find: Find
) -> list[RowResult]:
    """The rows of a table, in its order."""
    table, rows = asked.tables[name], []
    for number, row in enumerate(table.rows, 1):
        mine = [(t, use) for t in found for use in t.uses if (use.table, use.row) == (name, number)]
        runs = [(find(training), use) for training, use in mine]
        there = [run for run, _ in runs if run]
        evaluations = [made for run, use in runs if run and (made := run.evaluation(use))]
        kept, mixed = comparable(evaluations)
        reference = row.reference or table.reference
        rows.append(
            RowResult(
                tuple(_text(cell) for cell in row.cells),
                tuple(there),
                tuple(kept),
                _status(row.cited, row.missing, mine, find, len(kept)) or mixed,
                row.paper.model_dump(),
                reference - 1 if reference and reference != number else None,
            )
        )
    return rows


def comparable(evaluations: Sequence[Evaluation]) -> tuple[list[Evaluation], str]:
    """Those that were measured as the first one was, and why others are left out."""
    kept, why = [], ""
    for evaluation in evaluations:
        found = differences(evaluations[0].protocol, evaluation.protocol)
        why = why or "; ".join(found)
        if not found:
            kept.append(evaluation)
    return kept, f"seeds measured under other conditions are left out ({why})" if why else ""


def against_reference(rows: Sequence[RowResult], number: int) -> Difference | str | None:
    """The difference of a row to its reference, or why there is none to state."""
    row = rows[number]
    if row.reference is None or not row.evaluations or not rows[row.reference].evaluations:
        return None
    other = rows[row.reference]
    why = differences(row.protocol or {}, other.protocol or {}, without=["strategy"])
    if why:
        return "; ".join(why)
    ids = other.evaluations[0].ids
    ours = [_ordered(e, ids) for e in row.evaluations]
    theirs = [_ordered(e, ids) for e in other.evaluations]
    if any(counts is None for counts in (*ours, *theirs)):
        return "not of the same images"
    return difference([c for c in ours if c is not None], [c for c in theirs if c is not None])


def _ordered(evaluation: Evaluation, ids: Sequence[str]) -> Any:
    place = {image_id: i for i, image_id in enumerate(evaluation.ids)}
    if set(place) != set(ids):
        return None
    return evaluation.confusion[[place[image_id] for image_id in ids]]


def _status(
    cited: bool, missing: str | None, mine: Sequence[tuple[Training, Any]], find: Find, there: int
) -> str:
    if cited:
        return "cited"
    if missing:
        return missing
    if lacking := next((t.missing for t, _ in mine if t.missing), None):
        name = lacking.split(":")[0]
        return f"wants supplies.{name}=FILE, {lacking.split(': ', 1)[1]}"
    if there == len(mine):
        return ""
    said = dict.fromkeys(_state(training, find(training)) for training, _ in mine)
    said.pop("", None)
    some = f"{there} of {len(mine)} seeds; " if there else ""
    return some + ", ".join(said)


def _state(training: Training, run: Run | None) -> str:
    if run is None:
        return "missing"
    if run.state == "finished":
        return "" if all(run.evaluation(use) for use in training.uses) else "not evaluated"
    steps = f"at step {run.step} of {training.config.stage.steps}"
    last = run.failure.strip().splitlines()
    return f"{run.state} {steps}" + (f" ({last[-1]})" if last else "")


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return TICK if cell else ""
    return str(cell)
