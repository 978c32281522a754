"""Running what tables ask for: each training once, those that others start from first."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from deeplab.ablations.runs import Run, data_now, finder, known_runs
from deeplab.ablations.trainings import Training, Use, quoted
from deeplab.errors import UserError

LAST_LINES = 5
"""Of what a failed training has said."""

Check = Callable[[Sequence[str]], None]
"""Looks whether a job with these overrides can run; raises UserError."""


class Problem(NamedTuple):
    """What went wrong with a job."""

    said: str
    elsewhere: bool = False
    """Nothing: another process was at the same run."""


Launch = Callable[[Sequence[Sequence[str]]], Sequence[Problem | None]]
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
    problems: dict[str, Problem] = {}
    now = data_now()
    find = finder(known_runs(runs), now)
    todo = [t for t in trainings if not t.missing and not done(t, find(t))]
    print(f"{len(trainings)} distinct trainings, {len(todo)} of them to run", flush=True)
    lacking = wanted(trainings)
    if trainings and all(training.missing for training in trainings):
        raise UserError("\n       ".join(["nothing of this can be run.", *lacking]))
    for line in lacking:
        print(f"  {line}", flush=True)
    for training in todo:
        check(training.overrides)
    for _, wave in groupby(todo, key=lambda training: training.depth):
        ready = []
        for training in wave:
            before = find(training.start) if training.start else None
            if training.start and not (before and before.folder.finished):
                problems[training.key] = Problem("the training that it starts from has not ended")
            else:
                ready.append((training, overrides(training, before, group)))
        found = launch([typed for _, typed in ready]) if ready else []
        for (training, _), problem in zip(ready, found, strict=True):
            if problem is not None:
                problems[training.key] = problem
        find = finder(known_runs(runs), now)
    return _say(trainings, find, problems)


def wanted(trainings: Iterable[Training]) -> list[str]:
    """What trainings wait for that the user would have to supply."""
    counts = Counter(training.missing for training in trainings if training.missing)
    return [
        f"{count} want{'s' if count == 1 else ''} supplies.{name}=FILE: {what}"
        for (name, _, what), count in ((text.partition(": "), n) for text, n in counts.items())
    ]


def done(training: Training, run: Run | None) -> bool:
    """Whether a training is finished and was evaluated in all ways that rows want."""
    if run is None or not run.folder.finished:
        return False
    return all(run.evaluation(use) and not _lacks_archive(run, use) for use in training.uses)


def overrides(training: Training, before: Run | None, group: str) -> list[str]:
    """What the job is launched with: the training's own, the weights that it starts from, the
    evaluations that rows want and what a dashboard finds it by."""
    start = before.folder.path if before else training.supply
    ways = dict.fromkeys((use.split, use.export) for use in training.uses)
    evaluate = [_evaluation(training, split, export) for split, export in ways]
    return [
        *training.overrides,
        *([f"init_from={quoted(start)}"] if start else []),
        f"evaluate=[{','.join(evaluate)}]",
        f"++logger.group={group}",
        f"++logger.tags=[{','.join(tags(training))}]",
    ]


def tags(training: Training) -> list[str]:
    """Its tables and rows, as a dashboard finds it by."""
    found = [tag for use in training.uses for tag in (use.table, f"{use.table}-row{use.row}")]
    return list(dict.fromkeys(found))


def _evaluation(training: Training, split: str | None, export: str | None) -> str:
    wanted = [use.strategy for use in training.uses if (use.split, use.export) == (split, export)]
    strategies = ",".join(dict.fromkeys(wanted))
    return f"{{strategies:[{strategies}],split:{split or 'null'},export:{export or 'null'}}}"


def _lacks_archive(run: Run, use: Use) -> bool:
    evaluation = run.evaluation(use)
    if use.export is None or evaluation is None:
        return False
    split = str(evaluation.protocol["split"])
    return not evaluation.folder.archive(use.export, split).is_file()


def _say(
    trainings: Sequence[Training],
    find: Callable[[Training], Run | None],
    problems: dict[str, Problem],
) -> bool:
    """Print what is not done, and why; whether nothing of it has failed."""
    failed = False
    for training in trainings:
        run = find(training)
        if training.missing or done(training, run):
            continue
        problem = problems.get(training.key, Problem(""))
        state, failure = (run.state, run.failure) if run else (None, "")
        why = (failure if problem.said in failure else problem.said) or "not done"
        if state == "running" or (problem.elsewhere and state == "finished"):  # it is evaluated
            why = "in progress in another process, which it is left to"
        else:
            failed = True
        print(f"\nNot done: {rows(training)} ({' '.join(training.overrides)})")
        print("\n".join(f"  {line}" for line in why.strip().splitlines()[-LAST_LINES:]))
        if run:
            print(f"  {run.folder.path}")
    return not failed


def rows(training: Training) -> str:
    """The rows that are scored on it, as a person names them."""
    named = dict.fromkeys(f"{use.table} row {use.row}" for use in training.uses)
    return ", ".join(named) or "others start from it"
