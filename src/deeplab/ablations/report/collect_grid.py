"""Results of runs that differ in some config keys, as one table for each kind of evaluation."""

import difflib
import json
from collections.abc import Mapping, Sequence

from deeplab.ablations.report.collect_tables import describe_state
from deeplab.ablations.report.row_results import (
    NO_LABELED_PIXELS,
    RowResult,
    SeedResult,
    TableResult,
    score_names,
)
from deeplab.ablations.run_index import Run
from deeplab.evaluation.evaluation_folder import Evaluation, EvaluationFolder, read_evaluation
from deeplab.tracking.run_folder import flat_result_settings
from deeplab.utils.errors import UserError

TRAINING = "training"
"""Name of the table of the scores at the end of training, for runs that were not evaluated."""

INIT_FROM = "init_from"
"""Key of the initial weights, which are compared by their content."""

Settings = dict[str, str]
"""Settings of a run: dotted keys, and values as JSON."""


def collect_grid_results(runs: Sequence[Run], keys: Sequence[str]) -> list[TableResult]:
    """Group runs into rows by the values of ``keys``; the first row is the reference.

    Runs that differ only in their seeds are in the same row.

    Raises:
        UserError: no run is finished, no result depends on a key, or runs differ in other keys too.
    """
    finished = [run for run in runs if run.folder.finished]
    if not finished:
        raise UserError(
            f"runs: none of these {len(runs)} runs is finished. Continue one with train.py "
            "resume=RUN."
        )
    if not keys:
        raise UserError(
            "rows: no key. Name the keys that distinguish the runs, as in rows=decoder.convs."
        )
    settings = {id(run): flat_settings(run) for run in runs}
    _check_keys(keys, {key for values in settings.values() for key in values})
    _check_other_keys(finished, settings, keys)
    common = _without(settings[id(finished[0])], keys)
    matching = [run for run in runs if _without(settings[id(run)], keys) == common]
    names = {id(run): f"R{i}" for i, run in enumerate(matching, 1)}
    rows = _group_by_row(matching, settings, keys)
    shown = [run for _, row_runs in rows for run in row_runs if run.folder.finished]
    return [_table(evaluation, rows, keys, names) for evaluation in _common_evaluations(shown)]


def flat_settings(run: Run) -> Settings:
    """Return all settings that a run's result depends on, by dotted key."""
    weights = run.record.init_weights_sha256
    return {INIT_FROM: json.dumps(weights and weights[:8]), **flat_result_settings(run.config)}


def _is_covered(name: str, keys: Sequence[str]) -> bool:
    """Return whether a dotted key is one of ``keys`` or in a group that they name."""
    return any(name == key or name.startswith(f"{key}.") for key in keys)


def _without(settings: Settings, keys: Sequence[str]) -> Settings:
    """Return the settings that must be equal in all runs."""
    return {k: v for k, v in settings.items() if k != "seed" and not _is_covered(k, keys)}


def _check_keys(keys: Sequence[str], known: set[str]) -> None:
    groups = {key.rsplit(".", depth)[0] for key in known for depth in range(key.count(".") + 1)}
    for key in keys:
        if key in groups:
            continue
        leaves = {name.rpartition(".")[2]: name for name in sorted(known)}
        similar = difflib.get_close_matches(key, sorted(groups), n=3)
        similar += [leaves[n] for n in difflib.get_close_matches(key, leaves, n=1)]
        hint = f" Did you mean {' or '.join(dict.fromkeys(similar))}?" if similar else ""
        raise UserError(f"rows={key}: no such key, or no result depends on it.{hint}")


def _check_other_keys(
    runs: Sequence[Run], settings: Mapping[int, Settings], keys: Sequence[str]
) -> None:
    first = _without(settings[id(runs[0])], keys)
    for run in runs[1:]:
        other = _without(settings[id(run)], keys)
        different = [k for k in sorted(first.keys() | other.keys()) if first.get(k) != other.get(k)]
        if different:
            details = "; ".join(
                f"{k}: {first.get(k, 'none')} and {other.get(k, 'none')}" for k in different
            )
            raise UserError(
                f"runs: {runs[0].folder.path.name} and {run.folder.path.name} differ in more than "
                f"{', '.join(keys)} and seed ({details}). Add the key to rows, as in "
                f"rows={','.join([*keys, different[0]])}, or name fewer runs."
            )


def _group_by_row(
    runs: Sequence[Run], settings: Mapping[int, Settings], keys: Sequence[str]
) -> list[tuple[tuple[str, ...], list[Run]]]:
    """Group runs by the values of the keys, in order; a finished run replaces unfinished ones.

    Raises:
        UserError: two finished runs have the same values and seed.
    """
    names = {name for run in runs for name in settings[id(run)] if _is_covered(name, keys)}
    varying = {name for name in names if len({settings[id(run)].get(name) for run in runs}) > 1}
    rows: dict[tuple[str, ...], dict[int, Run]] = {}
    for run in sorted(runs, key=lambda run: not run.folder.finished):
        values = tuple(_value(settings[id(run)], key, varying) for key in keys)
        kept = rows.setdefault(values, {}).setdefault(run.config.seed, run)
        if kept is not run and run.folder.finished:
            raise UserError(
                f"runs: {kept.folder.path.name} and {run.folder.path.name} have the same settings "
                "and seed. Name only the one to report."
            )
    return [
        (values, [rows[values][seed] for seed in sorted(rows[values])])
        for values in sorted(rows, key=_sort_key)
    ]


def _value(settings: Settings, key: str, varying: set[str]) -> str:
    """Return a key's value as text; for a group, the values in which runs differ."""
    if key in settings:
        return settings[key].strip('"')
    inner = [name for name in settings if name.startswith(f"{key}.") and name in varying]
    return ", ".join(f"{name[len(key) + 1 :]}={settings[name]}" for name in inner)


def _sort_key(values: tuple[str, ...]) -> list[tuple[int, float, str]]:
    """Return a sort key that orders numbers by size, before texts."""
    sort_key = []
    for value in values:
        try:
            sort_key.append((0, float(value), ""))
        except ValueError:
            sort_key.append((1, 0.0, value))
    return sort_key


def _common_evaluations(runs: Sequence[Run]) -> list[str]:
    """Return the names of the evaluations that all runs have, or else of those that some have.

    If there are none, the scores at the end of training are used.
    """
    names = [set(_evaluations(run)) for run in runs]
    common = set.intersection(*names) or set.union(*names)
    return sorted(common) or [TRAINING]


def _evaluations(run: Run) -> dict[str, Evaluation]:
    """Return the evaluations of a run's final weights that have scores, by name."""
    evaluations = [
        read_evaluation(path.parent)
        for path in sorted(run.folder.evaluations.glob("*/result.json"))
    ]
    return {
        evaluation.folder.path.name: evaluation
        for evaluation in evaluations
        if evaluation.result.scored and evaluation.result.is_of_weights(run.weights_sha256)
    }


def _table(
    evaluation_name: str,
    rows: Sequence[tuple[tuple[str, ...], Sequence[Run]]],
    keys: Sequence[str],
    names: Mapping[int, str],
) -> TableResult:
    results = []
    for number, (cells, runs) in enumerate(rows, 1):
        seed_results = tuple(_seed_result(run, evaluation_name, names[id(run)]) for run in runs)
        reference = 1 if number > 1 else None
        results.append(RowResult(number, cells, seed_results, reference=reference))
    first = next(e for row in results for e in row.evaluations)
    label, split = first.protocol.strategy.label, first.protocol.split
    scored_by = "at the end of training" if evaluation_name == TRAINING else "by evaluate.py"
    setting = f"split {split}, {label}, scored {scored_by}"
    title, scores = f"{', '.join(keys)}: {evaluation_name}", score_names(first.result)
    return TableResult(evaluation_name, title, setting, tuple(keys), tuple(results), scores)


def _seed_result(run: Run, evaluation_name: str, name: str) -> SeedResult:
    seed = run.config.seed
    if run.result is None:
        return SeedResult(name, seed, run, problem=describe_state(run))
    evaluation = (
        Evaluation(EvaluationFolder(run.folder.path / evaluation_name), run.result)
        if evaluation_name == TRAINING
        else _evaluations(run).get(evaluation_name)
    )
    if evaluation is None:
        return SeedResult(name, seed, run, problem="trained, but this evaluation is missing")
    problem = "" if evaluation.result.has_score else NO_LABELED_PIXELS
    return SeedResult(name, seed, run, evaluation, problem=problem)
