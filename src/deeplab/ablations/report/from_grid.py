"""Runs that differ in some keys of their config as rows of tables, one table for each way in which
they were evaluated."""

import difflib
import json
from collections.abc import Mapping, Sequence

from deeplab.ablations.report.from_tables import state
from deeplab.ablations.report.results import (
    NOTHING_LABELED,
    RowResult,
    SeedResult,
    TableResult,
    is_scored,
    scores_of,
)
from deeplab.ablations.run_index import Run
from deeplab.evaluation.evaluation_folder import Evaluation, EvaluationFolder, read_evaluation
from deeplab.tracking.run_folder import flat_result_settings
from deeplab.utils.errors import UserError

TRAINING = "training"
"""The table of what training has measured last, where runs were not evaluated."""

START = "init_from"
"""The weights that runs start from, which are told apart by their content."""

Values = dict[str, str]
"""The settings of a run: dotted keys, and values as JSON."""


def grid_results(runs: Sequence[Run], keys: Sequence[str]) -> list[TableResult]:
    """Rows by the values of ``keys``, seeds together; the first row is the reference.

    Raises:
        UserError: no run is finished, no result depends on a key, or runs differ in others too.
    """
    finished = [run for run in runs if run.folder.finished]
    if not finished:
        raise UserError(
            f"runs: none of these {len(runs)} runs is finished; train.py with resume=RUN goes on."
        )
    if not keys:
        raise UserError("rows: name the keys by which runs are told apart, as rows=decoder.convs.")
    flat = {id(run): flattened(run) for run in runs}
    _check_keys(keys, {key for values in flat.values() for key in values})
    _check_others(finished, flat, keys)
    like = _others(flat[id(finished[0])], keys)
    fitting = [run for run in runs if _others(flat[id(run)], keys) == like]
    names = {id(run): f"R{i}" for i, run in enumerate(fitting, 1)}
    rows = _rows(fitting, flat, keys)
    shown = [run for _, each in rows for run in each if run.folder.finished]
    return [_table(way, rows, keys, names) for way in _ways(shown)]


def flattened(run: Run) -> Values:
    """All that a run's result depends on, by dotted keys."""
    start = run.record.get("init_weights_sha256")
    return {START: json.dumps(start and start[:8]), **flat_result_settings(run.config)}


def _within(name: str, keys: Sequence[str]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for key in keys)


def _others(values: Values, keys: Sequence[str]) -> Values:
    """What is to be alike in all runs."""
    return {k: v for k, v in values.items() if k != "seed" and not _within(k, keys)}


def _check_keys(keys: Sequence[str], known: set[str]) -> None:
    groups = {key.rsplit(".", depth)[0] for key in known for depth in range(key.count(".") + 1)}
    for key in keys:
        if key in groups:
            continue
        leaves = {name.rpartition(".")[2]: name for name in sorted(known)}
        near = difflib.get_close_matches(key, sorted(groups), n=3)
        near += [leaves[n] for n in difflib.get_close_matches(key, leaves, n=1)]
        hint = f" Did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
        raise UserError(f"rows={key}: there is no such key that a result depends on.{hint}")


def _check_others(runs: Sequence[Run], flat: Mapping[int, Values], keys: Sequence[str]) -> None:
    first = _others(flat[id(runs[0])], keys)
    for run in runs[1:]:
        mine = _others(flat[id(run)], keys)
        odd = [k for k in sorted(first.keys() | mine.keys()) if first.get(k) != mine.get(k)]
        if odd:
            said = "; ".join(
                f"{k}: {first.get(k, 'none')} against {mine.get(k, 'none')}" for k in odd
            )
            raise UserError(
                f"runs: {runs[0].folder.path.name} and {run.folder.path.name} differ in more than "
                f"{', '.join(keys)} and seed ({said}). Add it to rows=..., as in "
                f"rows={','.join([*keys, odd[0]])}, or name fewer runs."
            )


def _rows(
    runs: Sequence[Run], flat: Mapping[int, Values], keys: Sequence[str]
) -> list[tuple[tuple[str, ...], list[Run]]]:
    """Runs by the values of the keys, in their order; of each seed the one that is finished.

    Raises:
        UserError: there are two of them.
    """
    varying = {
        name
        for name in {name for run in runs for name in flat[id(run)] if _within(name, keys)}
        if len({flat[id(run)].get(name) for run in runs}) > 1
    }
    found: dict[tuple[str, ...], dict[int, Run]] = {}
    for run in sorted(runs, key=lambda run: not run.folder.finished):
        values = tuple(_value(flat[id(run)], key, varying) for key in keys)
        kept = found.setdefault(values, {}).setdefault(run.config.seed, run)
        if kept is not run and run.folder.finished:
            raise UserError(
                f"runs: {kept.folder.path.name} and {run.folder.path.name} have the same settings "
                "and seed; name the one that is to be reported."
            )
    return [(v, [found[v][seed] for seed in sorted(found[v])]) for v in sorted(found, key=_order)]


def _value(values: Values, key: str, varying: set[str]) -> str:
    """A key's value for a reader; of a group the values in which runs differ."""
    if key in values:
        return values[key].strip('"')
    inner = [n for n in values if n.startswith(f"{key}.") and n in varying]
    return ", ".join(f"{name[len(key) + 1 :]}={values[name]}" for name in inner)


def _order(values: tuple[str, ...]) -> list[tuple[int, float, str]]:
    """Numbers by size, then texts."""
    found = []
    for value in values:
        try:
            found.append((0, float(value), ""))
        except ValueError:
            found.append((1, 0.0, value))
    return found


def _ways(runs: Sequence[Run]) -> list[str]:
    """The evaluations that all runs have, else those that some have, else the training's own."""
    there = [set(_evaluations(run)) for run in runs]
    found = set.intersection(*there) or set.union(*there)
    return sorted(found) or [TRAINING]


def _evaluations(run: Run) -> dict[str, Evaluation]:
    """Those with scores of a run's final weights, by name."""
    found = [
        read_evaluation(path.parent)
        for path in sorted(run.folder.evaluations.glob("*/result.json"))
    ]
    return {
        evaluation.folder.path.name: evaluation
        for evaluation in found
        if evaluation.result.get("scored", True)
        and evaluation.result.get("weights_sha256") == run.result.get("weights_sha256")
    }


def _table(
    way: str,
    rows: Sequence[tuple[tuple[str, ...], Sequence[Run]]],
    keys: Sequence[str],
    names: Mapping[int, str],
) -> TableResult:
    results = []
    for number, (cells, runs) in enumerate(rows, 1):
        looks = tuple(_look(run, way, names[id(run)]) for run in runs)
        results.append(RowResult(number, cells, looks, reference=1 if number > 1 else None))
    found = next(e for row in results for e in row.evaluations)
    label, split = found.protocol["strategy"]["label"], found.protocol["split"]
    by = "at the end of training" if way == TRAINING else "by evaluate.py"
    setting = f"split {split}, {label}, scored {by}"
    title, scores = f"{', '.join(keys)}: {way}", scores_of(found.result)
    return TableResult(way, title, setting, tuple(keys), tuple(results), scores)


def _look(run: Run, way: str, name: str) -> SeedResult:
    seed = run.config.seed
    if not run.folder.finished:
        return SeedResult(name, seed, run, problem=state(run))
    if way == TRAINING:
        evaluation = Evaluation(EvaluationFolder(run.folder.path / way), run.result)
    elif not (found := _evaluations(run).get(way)):
        return SeedResult(name, seed, run, problem="trained, but not evaluated in this way")
    else:
        evaluation = found
    problem = "" if is_scored(evaluation.result) else NOTHING_LABELED
    return SeedResult(name, seed, run, evaluation, problem=problem)
