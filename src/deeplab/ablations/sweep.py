"""Sweeps over jobs: each job runs once, after the job that it starts from."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from deeplab.ablations.distinct_jobs import Job, RowEvaluation, describe_rows
from deeplab.ablations.run_index import (
    FindRun,
    Run,
    describe_other_version,
    known_runs,
    make_fingerprint_lookup,
    make_run_finder,
)
from deeplab.ablations.variants import run_name
from deeplab.config.overrides import quote_value
from deeplab.utils.errors import UserError
from deeplab.utils.text import pluralize

MAX_ERROR_LINES = 5
"""Number of lines at the end of a failed job's message that are printed; of a traceback, one."""

MAX_TAG = 64
"""Number of characters of a tag that W&B allows."""

MAX_TABLE_TAG = 55
"""Number of characters of a table's name in tags, before the number of a row."""

Check = Callable[[Sequence[str]], None]
"""Function that raises a UserError if a job with these overrides cannot run."""


class JobError(NamedTuple):
    """Error of a job."""

    message: str
    status: int = 1
    """Exit status of the job."""
    in_other_process: bool = False
    """True if another process works on the same run, which is no failure."""


class LaunchedJob(NamedTuple):
    """A job as it is launched."""

    overrides: Sequence[str]
    number: int
    """Number among the jobs of the sweep, from 1."""
    total: int
    """Number of jobs of the sweep."""
    title: str
    """Name of the job in this sweep (``job_titles``)."""


Launch = Callable[[Sequence[LaunchedJob]], Sequence[JobError | None]]
"""Function that runs jobs and returns the error of each or None."""


def run_jobs(jobs: Sequence[Job], *, runs: str, group: str, check: Check, launch: Launch) -> int:
    """Run the jobs that are not done, and print the reason for each that could not be done.

    Args:
        jobs: the jobs, each after the jobs that it starts from.
        runs: parent folder of the run folders.
        group: group of the runs on a dashboard.
        check: function that checks a job; called before the first one starts, for one seed of each.
        launch: function that runs jobs.

    Returns:
        Exit status: that of the first job that has failed, 0 if none has.

    Raises:
        UserError: all jobs need weights that are missing.
    """
    current_fingerprint = make_fingerprint_lookup()
    known = known_runs(runs)
    find_run = make_run_finder(known, current_fingerprint, chosen=True)
    find_stale_run = make_run_finder(known, current_fingerprint, chosen=True, any_version=True)
    todo = [
        j
        for j in jobs
        if not j.missing_weights_in_chain and (j.config.overwrite or not is_done(j, find_run(j)))
    ]
    missing = missing_weights_lines(jobs)
    if jobs and all(job.missing_weights_in_chain for job in jobs):
        problem = "ablation: no row of these tables can run, because weights are missing."
        raise UserError("\n       ".join([problem, *missing]))
    for job in one_of_each(todo):
        check(job_overrides(job, None, group))
    trained = sum(bool((run := find_run(job)) and run.folder.finished) for job in todo)
    evaluated = f", {trained} of them only to evaluate" if trained else ""
    print(f"{pluralize(len(jobs), 'distinct run')}, {len(todo)} to run{evaluated}", flush=True)
    kept = [job for job in jobs if not job.config.overwrite]
    stale = _other_version_lines(todo, find_run, find_stale_run)
    for line in [*missing, *other_code_lines(kept, find_run), *stale]:
        print(f"  {line}", flush=True)
    errors: dict[str, JobError | None] = {}
    titles = job_titles(jobs)
    numbers = {job.key: number for number, job in enumerate(todo, start=1)}
    waiting = {job.key: job for job in todo}
    while ready := _ready_jobs(waiting, find_run):
        launched = launch(
            [
                LaunchedJob(
                    job_overrides(job, pretraining, group),
                    number=numbers[job.key],
                    total=len(todo),
                    title=titles[job.key],
                )
                for job, pretraining in ready
            ]
        )
        find_run = make_run_finder(known_runs(runs), current_fingerprint, chosen=True)
        for (job, _), error in zip(ready, launched, strict=True):
            first_conflict = error and error.in_other_process and job.key not in errors
            errors[job.key] = error
            if not (first_conflict and _needs_evaluations(job, find_run(job))):
                del waiting[job.key]
    errors |= dict.fromkeys(waiting, JobError("the run that it starts from has not finished"))
    return _print_unfinished(jobs, find_run, errors)


def one_of_each(jobs: Sequence[Job]) -> list[Job]:
    """Return one job of those that differ in their seeds only."""
    without_seeds = {tuple(o for o in j.overrides if not o.startswith("seed=")): j for j in jobs}
    return [*without_seeds.values()]


def job_titles(jobs: Sequence[Job]) -> dict[str, str]:
    """Return the names of all jobs of a sweep, by their keys.

    They are a variant and its seed, or the overrides of a table's job that not all of them have.
    """
    counts = Counter(override for job in jobs for override in dict.fromkeys(job.overrides))
    return {
        job.key: describe_rows(job)
        if any(e.variant is not None for e in job.row_evaluations)
        else " ".join(o for o in job.overrides if counts[o] < len(jobs)) or describe_rows(job)
        for job in jobs
    }


def shared_overrides(jobs: Sequence[Job]) -> list[str]:
    """Return the overrides that all jobs have, those that the preset adds included."""
    others = [set(job.overrides) for job in jobs]
    return [o for job in jobs[:1] for o in job.overrides if all(o in other for other in others)]


def missing_weights_lines(jobs: Iterable[Job]) -> list[str]:
    """Return a line for each file of external weights that the user must provide."""
    counts = Counter(job.missing_weights_in_chain for job in jobs if job.missing_weights_in_chain)
    return [
        f"{'1 run needs' if count == 1 else f'{count} runs need'} "
        f"external_weights.{weights.name}=FILE: {weights.description}"
        for weights, count in counts.items()
    ]


def other_code_lines(jobs: Sequence[Job], find_run: FindRun) -> list[str]:
    """Return a line that names the rows whose finished runs other code than the present has made.

    Such runs are neither repeated nor mixed with the present code without a word.
    """
    made = [
        job
        for job in jobs
        if (run := find_run(job))
        and run.folder.finished
        and run.made_by_other_code(map(run.evaluation, job.row_evaluations))
    ]
    fix = "overwrite=true trains and evaluates with it"
    return [f"Made by other code than the present ({fix}): {describe_rows(*made)}"] if made else []


def _other_version_lines(
    jobs: Sequence[Job], find_run: FindRun, find_stale_run: FindRun
) -> list[str]:
    """Return a line for each other version of the user's own code that has made these runs."""
    counts = Counter(
        f"{run.state} {other}"
        for job in jobs
        if not find_run(job) and (run := find_stale_run(job))
        if (other := describe_other_version(job, run))
    )
    return [f"{pluralize(n, 'run')} {other}: trained anew" for other, n in counts.items()]


def _ready_jobs(waiting: Mapping[str, Job], find_run: FindRun) -> list[tuple[Job, Run | None]]:
    """Return the jobs that can start, each with the finished run that it starts from."""
    ready: list[tuple[Job, Run | None]] = []
    for job in waiting.values():
        pretraining = job.pretraining
        if pretraining is None:
            ready.append((job, None))
        elif (
            pretraining.key not in waiting
            and (run := find_run(pretraining))
            and run.folder.finished
        ):
            ready.append((job, run))
    return ready


def _needs_evaluations(job: Job, run: Run | None) -> bool:
    """Return True if a job is trained but not evaluated for all its rows.

    Another sweep, with other evaluations, may have trained it.
    """
    return run is not None and run.folder.finished and not is_done(job, run)


def is_done(job: Job, run: Run | None) -> bool:
    """Return True if a job is finished and has all evaluations that its rows need."""
    if run is None or not run.folder.finished:
        return False
    return all(
        run.evaluation(row_evaluation) and not _archive_missing(run, row_evaluation)
        for row_evaluation in job.row_evaluations
    )


def job_overrides(job: Job, pretraining: Run | None, group: str) -> list[str]:
    """Return the overrides that a job is launched with.

    They are the job's own, its initial weights, the evaluations of its rows, and group and tags.
    """
    evaluations = dict.fromkeys(
        f"{{strategy:{e.strategy},split:{quote_value(e.split) if e.split else 'null'},"
        f"submission:{e.submission or 'null'}}}"
        for e in job.row_evaluations
    )
    variant = next((e.variant for e in job.row_evaluations), None)
    tags = [*job.config.logger.tags, *job_tags(job)]
    return [
        *job.overrides,
        *([] if variant is None else [f"name={quote_value(_run_name(job, variant))}"]),
        *([f"init_from={quote_value(pretraining.folder.path)}"] if pretraining else []),
        f"strategies=[{','.join(evaluations)}]",
        f"++logger.group={quote_value(job_group(job, group))}",
        f"++logger.tags=[{','.join(map(quote_value, tags))}]",
    ]


def _run_name(job: Job, variant: Sequence[str]) -> str:
    return run_name(job.config.name, variant, job.config.seed)


def job_group(job: Job, group: str) -> str:
    """Return the group of a job on a dashboard: the one that was typed, or that of its sweep."""
    typed = any(override.lstrip("+").startswith("logger.group=") for override in job.overrides)
    return (job.config.logger.group if typed else None) or group


def job_tags(job: Job) -> list[str]:
    """Return the tags of a job on a dashboard: its tables and rows, or the typed overrides."""
    tags = [tag for e in job.row_evaluations for tag in (table_tag(e.table), *_row_tags(e))]
    return list(dict.fromkeys(tags))


def _row_tags(row_evaluation: RowEvaluation) -> list[str]:
    if row_evaluation.variant is None:
        return [f"{table_tag(row_evaluation.table)}-row{row_evaluation.row}"]
    return [override[:MAX_TAG] for override in row_evaluation.variant]


def table_tag(table: str) -> str:
    """Return the tag of a table, cut so that W&B accepts the tags of its rows."""
    return table[:MAX_TABLE_TAG]


def _archive_missing(run: Run, row_evaluation: RowEvaluation) -> bool:
    evaluation = run.evaluation(row_evaluation)
    if row_evaluation.submission is None or evaluation is None:
        return False
    split = evaluation.protocol.split
    return not evaluation.folder.archive(row_evaluation.submission, split).is_file()


def _print_unfinished(
    jobs: Sequence[Job], find_run: FindRun, errors: Mapping[str, JobError | None]
) -> int:
    """Print the jobs that are not done, with the reasons; return the first failure's status."""
    status = 0
    for job in jobs:
        run = find_run(job)
        if job.missing_weights_in_chain or is_done(job, run):
            continue
        error = errors.get(job.key)
        reason = _other_process(job, run, find_run, error)
        if not reason:
            status = status or (error.status if error else 1)
        print(f"\nNot done: {describe_rows(job)} ({' '.join(job.overrides)})")
        text = reason or _failure(run, error)
        lines = text.strip().splitlines()[-(1 if "Traceback" in text else MAX_ERROR_LINES) :]
        print("\n".join(f"  {line}" for line in lines))
        if run:
            print(f"  {run.folder.path}")
    return status


def _other_process(job: Job, run: Run | None, find_run: FindRun, error: JobError | None) -> str:
    """Return a line about another process that works on the job; empty if there is none."""
    in_other_process = error is not None and error.in_other_process
    just_begun = run is None and in_other_process
    evaluated = run is not None and run.folder.finished and in_other_process
    if just_begun or evaluated or (run and run.state == "running"):
        return "In progress in another process. Run the same command later to complete it."
    pretraining = find_run(job.pretraining) if job.pretraining else None
    if pretraining and pretraining.state == "running":
        return (
            "The run that it starts from is in progress in another process. Run the same command "
            "later to continue."
        )
    return ""


def _failure(run: Run | None, error: JobError | None) -> str:
    """Return the failure that the run has recorded, or the error of the job."""
    failure, message = run.failure if run else "", error.message if error else ""
    return (failure if message in failure else message) or "not done"
