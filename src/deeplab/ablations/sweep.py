"""Running what tables ask for: each training once, those that others start from first."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from deeplab.ablations.jobs import Training, Use
from deeplab.ablations.run_index import Find, Run, data_now, finder, known_runs
from deeplab.config.hydra_app import quote_value
from deeplab.utils.errors import UserError

LAST_LINES = 5
"""Of what a failed training has said."""

LONGEST_TABLE = 55
"""Characters of a table's name in tags, of which W&B takes 64."""

Check = Callable[[Sequence[str]], None]
"""Looks whether a job with these overrides can run; raises UserError."""


class JobError(NamedTuple):
    """What went wrong with a job."""

    said: str
    elsewhere: bool = False
    """Nothing: another process was at the same run."""


Launch = Callable[[Sequence[Sequence[str]]], Sequence[JobError | None]]
"""Runs jobs, given by their overrides; for each what went wrong, None where nothing did."""


def run_trainings(
    trainings: Sequence[Training], *, runs: str, group: str, check: Check, launch: Launch
) -> bool:
    """Run those that are not done, and say of each that could not be done why.

    Args:
        trainings: those that others start from first.
        runs: the folder of the run folders.
        group: what the runs have in common on a dashboard.
        check: looks whether a job can run; called for all before the first one starts.
        launch: runs jobs.

    Returns:
        False if a training has failed.

    Raises:
        UserError: each of them wants weights that are not here.
    """
    now = data_now()
    find = finder(known_runs(runs), now)
    todo = [t for t in trainings if not t.missing and (t.config.overwrite or not done(t, find(t)))]
    print(f"{len(trainings)} distinct trainings, {len(todo)} of them to run", flush=True)
    lacking = wanted(trainings)
    if trainings and all(training.missing for training in trainings):
        raise UserError("\n       ".join(["nothing of this can be run.", *lacking]))
    for line in lacking:
        print(f"  {line}", flush=True)
    for training in todo:
        check(training.overrides)
    problems: dict[str, JobError | None] = {}
    waiting = {training.key: training for training in todo}
    while ready := _ready(waiting, find):
        found = launch([overrides(training, before, group) for training, before in ready])
        find = finder(known_runs(runs), now)
        for (training, _), problem in zip(ready, found, strict=True):
            again = problem and problem.elsewhere and training.key not in problems
            problems[training.key] = problem
            if not (again and _lacks_evaluations(training, find(training))):
                del waiting[training.key]
    problems |= dict.fromkeys(waiting, JobError("what it starts from has not ended"))
    return _say(trainings, find, problems)


def wanted(trainings: Iterable[Training]) -> list[str]:
    """What trainings wait for that the user would have to supply."""
    counts = Counter(training.missing for training in trainings if training.missing)
    return [
        f"{count} want{'s' if count == 1 else ''} external_weights.{name}=FILE: {what}"
        for (name, _, what), count in ((text.partition(": "), n) for text, n in counts.items())
    ]


def _ready(waiting: Mapping[str, Training], find: Find) -> list[tuple[Training, Run | None]]:
    """Those that can be launched, with the run that they start from, which has ended."""
    found: list[tuple[Training, Run | None]] = []
    for training in waiting.values():
        start = training.start
        if start is None:
            found.append((training, None))
        elif start.key not in waiting and (before := find(start)) and before.folder.finished:
            found.append((training, before))
    return found


def _lacks_evaluations(training: Training, run: Run | None) -> bool:
    """Whether it is trained, by another sweep for example, which may want other evaluations."""
    return run is not None and run.folder.finished and not done(training, run)


def done(training: Training, run: Run | None) -> bool:
    """Whether a training is finished and was evaluated in all ways that rows want."""
    if run is None or not run.folder.finished:
        return False
    return all(run.evaluation(use) and not _lacks_archive(run, use) for use in training.uses)


def overrides(training: Training, before: Run | None, group: str) -> list[str]:
    """What the job is launched with: the training's own, the run that it starts from, the
    evaluations that rows want and what a dashboard finds it by."""
    ways = dict.fromkeys((use.split, use.export) for use in training.uses)
    evaluate = [_evaluation(training, split, export) for split, export in ways]
    return [
        *training.overrides,
        *([f"init_from={quote_value(before.folder.path)}"] if before else []),
        f"eval_after_training=[{','.join(evaluate)}]",
        f"++logger.group={quote_value(group)}",
        f"++logger.tags=[{','.join(map(quote_value, tags(training)))}]",
    ]


def tags(training: Training) -> list[str]:
    """Its tables and rows, as a dashboard finds it by."""
    named = [(table_tag(use.table), use.row) for use in training.uses]
    return list(dict.fromkeys(tag for table, row in named for tag in (table, f"{table}-row{row}")))


def table_tag(table: str) -> str:
    """A table's, which is cut where W&B would refuse that of a row."""
    return table[:LONGEST_TABLE]


def _evaluation(training: Training, split: str | None, export: str | None) -> str:
    wanted = [use.strategy for use in training.uses if (use.split, use.export) == (split, export)]
    strategies = ",".join(dict.fromkeys(wanted))
    return f"{{strategies:[{strategies}],split:{split or 'null'},submission:{export or 'null'}}}"


def _lacks_archive(run: Run, use: Use) -> bool:
    evaluation = run.evaluation(use)
    if use.export is None or evaluation is None:
        return False
    split = str(evaluation.protocol["split"])
    return not evaluation.folder.archive(use.export, split).is_file()


def _say(
    trainings: Sequence[Training], find: Find, problems: Mapping[str, JobError | None]
) -> bool:
    """Print what is not done, and why; whether nothing of it has failed."""
    failed = False
    for training in trainings:
        run = find(training)
        if training.missing or done(training, run):
            continue
        problem = problems.get(training.key)
        why = _left(training, run, find, problem)
        failed |= not why
        print(f"\nNot done: {rows(training)} ({' '.join(training.overrides)})")
        lines = (why or _failure(run, problem)).strip().splitlines()
        print("\n".join(f"  {line}" for line in lines[-LAST_LINES:]))
        if run:
            print(f"  {run.folder.path}")
    return not failed


def _left(training: Training, run: Run | None, find: Find, problem: JobError | None) -> str:
    """What another process is at; empty if there is none."""
    elsewhere = problem is not None and problem.elsewhere
    if run and (run.state == "running" or (elsewhere and run.folder.finished)):  # it is evaluated
        return "in progress in another process, which it is left to"
    before = find(training.start) if training.start else None
    if before and before.state == "running":
        return "what it starts from is in progress in another process; the same command goes on"
    return ""


def _failure(run: Run | None, problem: JobError | None) -> str:
    """What the run has written down, or what was said of the job."""
    failure, said = run.failure if run else "", problem.said if problem else ""
    return (failure if said in failure else said) or "not done"


def rows(training: Training) -> str:
    """The rows that are scored on it, as a person names them."""
    named = dict.fromkeys(f"{use.table} row {use.row}" for use in training.uses)
    return ", ".join(named) or "others start from it"
