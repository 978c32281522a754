"""Results of ablation tables: the runs of each row and their state."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from deeplab.ablations.distinct_jobs import (
    PRETRAINED_PREFIX,
    RANDOM_WEIGHTS,
    Job,
    RowEvaluation,
)
from deeplab.ablations.report.row_results import (
    NO_LABELED_PIXELS,
    RowResult,
    SeedResult,
    TableResult,
)
from deeplab.ablations.run_index import FindRun, Run, describe_other_version
from deeplab.ablations.sweep_request import SweepRequest
from deeplab.ablations.tables import Preset, Row, Table
from deeplab.ablations.untyped_differences import untyped_differences
from deeplab.config.schema.run import RunConfig
from deeplab.tracking.run_identity import changes_result

MAX_LENGTH = 200
"""Largest number of characters that are shown of the progress of a run and its error."""


class JobRun(NamedTuple):
    """A job of this report and its run."""

    name: str
    job: Job
    run: Run | None
    stale_run: Run | None
    """The run, also with another version of the user's own code."""


def collect_table_results(
    request: SweepRequest, jobs: Sequence[Job], find_run: FindRun, find_stale_run: FindRun
) -> list[TableResult]:
    """Return the results of the requested tables, each with its rows in order."""
    job_runs = {
        job.key: JobRun(f"R{i}", job, find_run(job), find_stale_run(job))
        for i, job in enumerate(jobs, 1)
    }
    by_row: dict[tuple[str, int], list[tuple[JobRun, RowEvaluation]]] = {}
    for job in jobs:
        for row_evaluation in job.row_evaluations:
            key = (row_evaluation.table, row_evaluation.row)
            by_row.setdefault(key, []).append((job_runs[job.key], row_evaluation))
    return [
        TableResult(
            name,
            table.title,
            table.setting if request.of_variants else _setting(request.preset, table),
            table.columns,
            tuple(
                _row(number, row, table.reference, by_row.get((name, number), []), job_runs)
                for number, row in enumerate(table.rows, 1)
            ),
            table.scores,
            table.boundary_plot,
            as_paper=_as_paper(request, table, _jobs_of(name, jobs)),
            untyped=untyped_differences(name, jobs),
        )
        for name, table in request.tables.items()
    ]


def _jobs_of(table: str, jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if any(e.table == table for e in job.row_evaluations)]


def _as_paper(request: SweepRequest, table: Table, jobs: Sequence[Job]) -> bool:
    """Return True if nothing that a result depends on is changed from the table's file.

    The files leave it to presets where the paper's initial weights come from.
    """
    if any(_starts_from_random_weights(job) for job in jobs):
        return False
    changed = [*request.preset.train, *request.overrides]
    for old, new in _replacements(request.preset, table):
        changed += [o for o in {old} ^ {*new} if not o.startswith(PRETRAINED_PREFIX)]
    return not any(changes_row(job.config, override) for job in jobs for override in changed)


def _starts_from_random_weights(job: Job) -> bool:
    """Return True if a segmentation network, or the run that it starts from, starts from none."""
    if job.pretraining:
        return _starts_from_random_weights(job.pretraining)
    given = job.missing_weights or job.origin != RANDOM_WEIGHTS
    return not given and job.config.stage.task == "segmentation"


def changes_row(config: RunConfig, override: str) -> bool:
    """Return True if the result of a row may depend on an override, its images included."""
    key = override.partition("=")[0].lstrip("+~")
    weights = key in ("init_from", "backbone.pretrained")
    return weights or (key != "trainer" and changes_result(config, key))


def _replacements(preset: Preset, table: Table) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each override of a table that a preset replaces, and what replaces it."""
    stages = [table.train, *(p.train for p in table.pretraining.values())]
    for override in chain(*stages, *(row.train for row in table.rows)):
        if (new := preset.replace.get(override.replace(" ", ""))) is not None:
            yield override, new


def _setting(preset: Preset, table: Table) -> str:
    """Return the setting of all rows; where the rows here differ from the paper's, in what."""
    replaced: dict[tuple[str, ...], dict[str, None]] = {}
    for old, new in _replacements(preset, table):
        if old not in new:  # others have initial weights besides
            replaced.setdefault(tuple(new), {})[old] = None
    if not replaced and not (preset.use_val_split and table.split):
        return table.setting
    here = [
        f"{' '.join(new) or 'nothing'} for {' and '.join(old)}" for new, old in replaced.items()
    ]
    return f"In the paper: {table.setting}" + (f"; here: {', '.join(here)}" if here else "")


def _row(
    number: int,
    row: Row,
    table_reference: int | None,
    row_evaluations: Sequence[tuple[JobRun, RowEvaluation]],
    job_runs: Mapping[str, JobRun],
) -> RowResult:
    reference = row.reference or table_reference
    return RowResult(
        number,
        row.cells,
        tuple(
            _seed_result(job_run, row_evaluation, job_runs)
            for job_run, row_evaluation in row_evaluations
        ),
        "cited" if row.cited else row.unavailable or "",
        row.paper,
        reference if reference != number else None,
    )


def _seed_result(
    job_run: JobRun, row_evaluation: RowEvaluation, job_runs: Mapping[str, JobRun]
) -> SeedResult:
    name, run, seed = job_run.name, job_run.run, job_run.job.config.seed
    if run is None or not run.folder.finished:
        return SeedResult(name, seed, run, problem=_unfinished(job_run, job_runs))
    evaluation = run.evaluation(row_evaluation)
    if evaluation is None:
        return SeedResult(name, seed, run, problem="trained, but this evaluation is missing")
    if not evaluation.result.scored:
        split = evaluation.protocol.split
        path = row_evaluation.submission and evaluation.folder.archive(
            row_evaluation.submission, split
        )
        archive = path if path and path.is_file() else None
        problem = (
            f"scored by the test server; upload {archive.name} there"
            if archive
            else "no score, because these images have no masks"
        )
        return SeedResult(name, seed, run, evaluation, archive, problem)
    problem = "" if evaluation.result.has_score else NO_LABELED_PIXELS
    return SeedResult(name, seed, run, evaluation, problem=problem)


def _unfinished(job_run: JobRun, job_runs: Mapping[str, JobRun]) -> str:
    """Return why a job has no result."""
    if missing := job_run.job.missing_weights_in_chain:
        return f"needs {missing.description}: external_weights.{missing.name}=FILE"
    if job_run.run is not None:
        return _progress(job_run.run)
    if job_run.stale_run and (other := describe_other_version(job_run.job, job_run.stale_run)):
        return f"{job_run.stale_run.state} {other}"
    pretraining = job_run.job.pretraining
    before = job_runs.get(pretraining.key) if pretraining else None
    if before is None or before.run is None or before.run.folder.finished:
        return "missing"
    return f"missing; the run that it starts from: {_progress(before.run)}"


def _progress(run: Run) -> str:
    """Return the progress of a run in a line, cut if it is very long."""
    return textwrap.shorten(run.progress, MAX_LENGTH, placeholder=" ...")
