"""Running what tables ask for: each training once, those that others start from first."""

from collections.abc import Callable, Sequence
from itertools import groupby

from deeplab.ablations.runs import Run, data_now, finder, known_runs
from deeplab.ablations.trainings import Training, Use, quoted

LAST_LINES = 5
"""Of what a failed training has said."""

Check = Callable[[Sequence[str]], None]
"""Looks whether a job with these overrides can run; raises UserError."""

Launch = Callable[[Sequence[Sequence[str]]], Sequence[str | None]]
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
    """
    errors: dict[str, str] = {}
    now = data_now()
    find = finder(known_runs(runs), now)
    todo = [t for t in trainings if not t.missing and not done(t, find(t))]
    print(f"{len(trainings)} distinct trainings, {len(todo)} of them to run", flush=True)
    for training in todo:
        check(training.overrides)
    for _, wave in groupby(todo, key=lambda training: training.depth):
        ready = []
        for training in wave:
            before = find(training.start) if training.start else None
            if training.start and not (before and before.folder.finished):
                errors[training.key] = "the training that it starts from has not ended"
            else:
                ready.append((training, overrides(training, before, group)))
        said = launch([typed for _, typed in ready]) if ready else []
        for (training, _), error in zip(ready, said, strict=True):
            if error is not None:
                errors[training.key] = error
        find = finder(known_runs(runs), now)
    return _say(trainings, find, errors)


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
    trainings: Sequence[Training], find: Callable[[Training], Run | None], errors: dict[str, str]
) -> bool:
    """Print what is not done, and why; whether nothing of it has failed."""
    failed = False
    for training in trainings:
        run = find(training)
        if training.missing or done(training, run):
            continue
        running = run is not None and run.state == "running"
        failed = failed or not running
        said, failure = errors.get(training.key) or "", run.failure if run else ""
        why = (failure if said in failure else said) or said or "not done"
        if running:
            why = "in progress in another process, which it is left to"
        print(f"\nNot done: {rows(training)} ({' '.join(training.overrides)})")
        print("\n".join(f"  {line}" for line in why.strip().splitlines()[-LAST_LINES:]))
        if run:
            print(f"  {run.folder.path}")
    return not failed


def rows(training: Training) -> str:
    """The rows that are scored on it, as a person names them."""
    named = dict.fromkeys(f"{use.table} row {use.row}" for use in training.uses)
    return ", ".join(named) or "others start from it"
