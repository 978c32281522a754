"""The rows of ablation tables: which runs they stand for and how far these are."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from deeplab.ablations.jobs import SweepRequest, Training, Use
from deeplab.ablations.report.results import (
    NOTHING_LABELED,
    RowResult,
    SeedResult,
    TableResult,
    is_scored,
)
from deeplab.ablations.run_index import Find, Run
from deeplab.ablations.tables import Preset, Row, Table
from deeplab.config.schema.data import LOCATION_KEYS

DETERMINING = ("backbone", "aspp", "decoder", "output_stride", "data", "stage")
"""Groups and keys that a result depends on, beside the seed."""

LONGEST = 160
"""Characters of an error's last line."""


class Known(NamedTuple):
    """A training in this report."""

    name: str
    training: Training
    run: Run | None


def table_results(
    request: SweepRequest, found: Sequence[Training], find: Find
) -> list[TableResult]:
    """The tables that were asked for, each with its rows in their order."""
    known = {t.key: Known(f"R{i}", t, find(t)) for i, t in enumerate(found, 1)}
    uses: dict[tuple[str, int], list[tuple[Known, Use]]] = {}
    for training in found:
        for use in training.uses:
            uses.setdefault((use.table, use.row), []).append((known[training.key], use))
    return [
        TableResult(
            name,
            table.title,
            _setting(request.preset, table),
            table.columns,
            tuple(
                _row(number, row, table.reference, uses.get((name, number), []), known)
                for number, row in enumerate(table.rows, 1)
            ),
            table.scores,
            table.boundary_plot,
            as_paper=_as_paper(request),
        )
        for name, table in request.tables.items()
    ]


def _as_paper(request: SweepRequest) -> bool:
    """Whether rows are run as their files say: nothing that a result depends on is set on top."""
    keys = [
        text.split("=", 1)[0].lstrip("+~") for text in (*request.preset.train, *request.overrides)
    ]
    places = {f"data.{place}" for place in LOCATION_KEYS}
    changed = [key for key in keys if key.split(".")[0] in DETERMINING and key not in places]
    return not request.preset.replace and not changed


def _setting(preset: Preset, table: Table) -> str:
    """What holds for all rows; of the paper's where rows are not run so here."""
    elsewhere = preset.use_val_split and table.split
    return f"In the paper: {table.setting}" if preset.replace or elsewhere else table.setting


def _row(
    number: int,
    row: Row,
    reference: int | None,
    uses: Sequence[tuple[Known, Use]],
    known: Mapping[str, Known],
) -> RowResult:
    against = row.reference or reference
    return RowResult(
        number,
        row.cells,
        tuple(_look(one, use, known) for one, use in uses),
        "cited" if row.cited else row.unavailable or "",
        row.paper,
        against if against != number else None,
    )


def _look(one: Known, use: Use, known: Mapping[str, Known]) -> SeedResult:
    training, run = one.training, one.run
    seed = training.config.seed
    if run is None or not run.folder.finished:
        return SeedResult(one.name, seed, run, problem=_unfinished(one, known))
    evaluation = run.evaluation(use)
    if evaluation is None:
        return SeedResult(one.name, seed, run, problem="trained, but not evaluated in this way")
    if not evaluation.result.get("scored", True):
        archive = use.export and evaluation.folder.archive(
            use.export, str(evaluation.protocol["split"])
        )
        there = archive if archive and archive.is_file() else None
        problem = (
            f"scored by the test server; {there.name} is to be handed in"
            if there
            else "these images have no masks to score with"
        )
        return SeedResult(one.name, seed, run, evaluation, there, problem)
    problem = "" if is_scored(evaluation.result) else NOTHING_LABELED
    return SeedResult(one.name, seed, run, evaluation, problem=problem)


def _unfinished(one: Known, known: Mapping[str, Known]) -> str:
    """Why a training has no result."""
    if missing := one.training.missing:
        name, _, what = missing.partition(": ")
        return f"supply {what}: external_weights.{name}=FILE"
    if one.run is not None:
        return state(one.run)
    start = one.training.start
    before = known.get(start.key) if start else None
    if before is None or before.run is None or before.run.folder.finished:
        return "missing"
    return f"missing; the training that it starts from: {state(before.run)}"


def state(run: Run) -> str:
    """How far a run is that has not ended well."""
    said = f"{run.state} at step {run.step} of {run.config.stage.max_steps}"
    last = run.failure.strip().splitlines()[-1:] if run.state == "failed" else []
    return f"{said}: {shortened(last[0].strip())}" if last else said


def shortened(text: str) -> str:
    """A line, cut where it is very long."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
