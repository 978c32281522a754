"""Plan of a sweep over tables: rows, runs, their states and the remaining work."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from deeplab.ablations.distinct_jobs import Job, describe_rows
from deeplab.ablations.estimate import estimate_job, split_size
from deeplab.ablations.run_index import FindRun, Run, describe_other_version
from deeplab.ablations.sweep import (
    is_done,
    job_titles,
    missing_weights_lines,
    other_code_lines,
    shared_overrides,
)
from deeplab.ablations.sweep_request import SweepRequest
from deeplab.ablations.untyped_differences import untyped_differences
from deeplab.checkpoints.hub import NotDownloadedError
from deeplab.checkpoints.initialization import find_init_source
from deeplab.config.execution import choose_execution
from deeplab.data.settings import SyntheticSettings
from deeplab.utils.paths import is_url
from deeplab.utils.program import command
from deeplab.utils.text import format_duration, format_size, pluralize
from deeplab.utils.text_table import Column, TextTable


def print_plan(
    request: SweepRequest,
    jobs: Sequence[Job],
    find_run: FindRun,
    find_stale_run: FindRun,
    *,
    measure_speed: bool = False,
) -> None:
    """Print the rows with their runs, the states of the runs, and the remaining work.

    Args:
        request: request with the tables.
        jobs: distinct jobs of the tables.
        find_run: returns the run of a job.
        find_stale_run: returns the run of a job, even if its images or the user's own code have
            changed since.
        measure_speed: measure training steps, to tell how long the work takes here.
    """
    if request.preset_name:
        print(f"Preset {request.preset_name}: {request.preset.title}")
    names = {job.key: f"R{number}" for number, job in enumerate(jobs, 1)}
    for table in request.tables:
        _print_table(request, table, jobs, names)
    _print_jobs(jobs, find_run, find_stale_run, names)
    _print_missing_data(jobs)
    waiting = [
        job
        for job in jobs
        if (missing := job.missing_weights_in_chain)
        and missing.name in request.preset.external_weights
    ]
    blocked = [job for job in jobs if job.missing_weights_in_chain and job not in waiting]
    todo = [job for job in jobs if job not in blocked and not is_done(job, find_run(job))]
    num_done = len(jobs) - len(todo) - len(blocked)
    print(
        f"\n{pluralize(len(jobs), 'distinct run')}: {num_done} done, {len(todo)} to run"
        + (f" ({len(waiting)} of them after you provide weights)" if waiting else "")
        + (f", {len(blocked)} need weights that you provide" if blocked else "")
    )
    evaluated = _evaluation_lines(todo)
    for line in [*missing_weights_lines(jobs), *other_code_lines(jobs, find_run), *evaluated]:
        print(f"  {line}")
    if todo:
        _print_estimates(todo, find_run, names, measure_speed=measure_speed)


def _print_table(
    request: SweepRequest, name: str, jobs: Sequence[Job], names: Mapping[str, str]
) -> None:
    table = request.tables[name]
    print(f"\n{table.title} ({table.setting})")
    columns = [Column("row", number=True), *(Column(c, format=_cell) for c in table.columns)]
    rows = []
    for number, row in enumerate(table.rows, 1):
        evaluations = [
            (job, e)
            for job in jobs
            for e in job.row_evaluations
            if (e.table, e.row) == (name, number)
        ]
        strategy = evaluations[0][1].strategy if evaluations else ""
        run = _name_runs([names[job.key] for job, _ in evaluations])
        run = run or ("cited" if row.cited else f"not run: {row.unavailable}")
        rows.append((number, *row.cells, strategy, run))
    columns += [Column("strategy"), Column("run")]
    print(TextTable.from_values(columns, rows).as_text())
    for line in untyped_differences(name, jobs):
        print(line)


def _name_runs(names: Sequence[str]) -> str:
    """Return the names of a row's runs, its seeds, in short if they follow each other."""
    numbers = [int(name[1:]) for name in names]
    in_sequence = len(names) > 2 and numbers == list(range(numbers[0], numbers[0] + len(names)))
    return f"{names[0]}-{names[-1]}" if in_sequence else " ".join(names)


def _print_jobs(
    jobs: Sequence[Job], find_run: FindRun, find_stale_run: FindRun, names: Mapping[str, str]
) -> None:
    """Print the runs; what all of them have in common once."""
    weights = {job.key: _describe_initial_weights(job) for job in jobs}
    one_source = len(jobs) > 1 and len(set(weights.values())) == 1
    titles = job_titles(jobs)
    if len(jobs) > 1 and (shared := shared_overrides(jobs)):
        print(f"\nAll runs: {' '.join(shared)}")
    if one_source:
        print(f"          initial weights: {weights[jobs[0].key]}")
    print("\nRuns (rows that need the same trained network share a run):")
    for job in jobs:
        after = f" after {names[job.pretraining.key]}" if job.pretraining else ""
        print(f"  {names[job.key]:<4} {titles[job.key]}{after}")
        if not one_source:
            print(f"       initial weights: {weights[job.key]}")
        rows = dict.fromkeys([titles[job.key], describe_rows(job)])
        texts = [_state(job, find_run(job), find_stale_run(job)), *list(rows)[1:]]
        print(f"       {'; '.join(texts)}")


def _evaluation_lines(jobs: Sequence[Job]) -> list[str]:
    """Return a line for each split that is evaluated in whole, although validations are shorter."""
    splits = {
        (split, split_size(job.config.data, split))
        for job in jobs
        if job.config.trainer.limit_val_batches is not None
        for split in {e.split_of(job.config) for e in job.row_evaluations}
    }
    return [
        f"Evaluations take all {pluralize(size, 'image')} of {split}: trainer.limit_val_batches "
        "shortens the validations of a training only"
        for split, size in sorted(splits)
    ]


def _describe_initial_weights(job: Job) -> str:
    """Return a description of the initial weights, with a remark if they are not downloaded yet."""
    if job.missing_weights:
        return f"external_weights.{job.missing_weights.name}"
    try:
        find_init_source(job.config, download=False)
    except NotDownloadedError:
        return f"{job.origin}, to be downloaded"
    return job.origin


def _state(job: Job, run: Run | None, stale_run: Run | None) -> str:
    if missing := job.missing_weights_in_chain:
        return f"needs external_weights.{missing.name}"
    if run is None and stale_run:
        other = describe_other_version(job, stale_run)
        reason = f"{stale_run.state} {other}" if other else "because the images have changed"
        return f"stale, {reason}: {stale_run.folder.path}"
    if run is None:
        return "not started"
    evaluations = map(run.evaluation, job.row_evaluations)
    by_other_code = " by other code" if run.made_by_other_code(evaluations) else ""
    if is_done(job, run):
        return f"done{by_other_code}: {run.folder.path}"
    if run.folder.finished:
        return f"trained{by_other_code}, but evaluations are missing: {run.folder.path}"
    return f"{run.progress}{by_other_code}: {run.folder.path}"


def _print_missing_data(jobs: Sequence[Job]) -> None:
    roots = {
        job.config.data.root: job.config.data.name
        for job in jobs
        if not isinstance(job.config.data, SyntheticSettings)
    }
    for root, name in roots.items():
        if not is_url(root) and not Path(root).expanduser().is_dir():
            fix = f"Prepare it with {command('prepare')} data={name}."
            if name == "imagenet":
                fix = (
                    "ImageNet needs a login on its website; set data_roots.imagenet to your folder."
                )
            print(f"\ndata={name}: {root}: no such folder. {fix}")


def _print_estimates(
    todo: Sequence[Job], find_run: FindRun, names: Mapping[str, str], *, measure_speed: bool
) -> None:
    if measure_speed:
        print(
            f"\nMeasuring training steps on {choose_execution(todo[0].config.trainer)}", flush=True
        )
    estimates = [estimate_job(job, find_run(job), measure_speed=measure_speed) for job in todo]
    columns = [
        Column("run"),
        Column("multiply-adds", number=True, format=_tera),
        Column("disk", number=True, format=format_size),
        Column("s per step", number=True, format="{:.3g}".format),
        Column("time", number=True, format=format_duration),
    ]
    rows = [(names[job.key], *estimate) for job, estimate in zip(todo, estimates, strict=True)]
    print(TextTable.from_values(columns, rows).without_empty_columns().as_text())
    multiply_adds = sum(estimate.multiply_adds for estimate in estimates)
    disk = sum(estimate.disk for estimate in estimates)
    print(f"Total: {_tera(multiply_adds)} multiply-adds, {format_size(disk)} of disk space")
    seconds = [estimate.seconds for estimate in estimates if estimate.seconds is not None]
    if measure_speed:
        print(
            f"Time: {format_duration(sum(seconds))}, one run at a time on one device; without "
            "reading images, evaluations by their multiply-adds"
        )
    if measure_speed and len(seconds) < len(todo):
        left_out = pluralize(len(todo) - len(seconds), "run")
        print(f"Without {left_out} whose batch does not fit into memory here.")


def _tera(count: float) -> str:
    return f"{count / 1e12:,.1f} T"


def _cell(cell: object) -> str:
    return {True: "x", False: ""}[cell] if isinstance(cell, bool) else str(cell)
