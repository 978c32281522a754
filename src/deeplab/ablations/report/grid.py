"""Runs that differ in some keys of their config, as rows of tables."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab.ablations.report.results import RowResult, comparable
from deeplab.ablations.runs import Run
from deeplab.errors import UserError
from deeplab.evaluation.folder import Evaluation, EvaluationFolder, read_evaluation
from deeplab.records import settings

ALONE = "training"
"""The name of the table of what training itself has measured last."""


def grid_results(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, list[RowResult]]:
    """The rows by the values of ``keys``, seeds together: a table for each evaluation that runs
    have, or for the score that training ended with where none was made.

    Raises:
        UserError: no run is finished, a key is unknown, or runs of one row differ in more.
    """
    finished = [run for run in runs if run.folder.finished]
    if not finished:
        raise UserError("runs: none of these runs is finished.")
    rows = _rows(finished, keys)
    names = sorted({name for run in finished for name in _evaluations(run)}) or [ALONE]
    return {name: _table(rows, name) for name in names}


def _rows(runs: Sequence[Run], keys: Sequence[str]) -> dict[tuple[str, ...], list[Run]]:
    """Runs by the values of the keys, in the order of the values."""
    flat = {run: _flat(settings(run.config)) for run in runs}
    known = {name for values in flat.values() for name in values}
    for key in keys:
        if key not in known and not any(name.startswith(f"{key}.") for name in known):
            near = difflib.get_close_matches(key, known, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise UserError(f"rows={key}: no result depends on such a key.{hint}")
    others = [
        {n: v for n, v in values.items() if n != "seed" and not _within(n, keys)}
        for values in flat.values()
    ]
    for run, other in zip(runs, others, strict=True):
        for name in sorted(other.keys() | others[0].keys()):
            if other.get(name) != others[0].get(name):
                raise UserError(
                    f"runs: {runs[0].folder.path} and {run.folder.path} differ in {name} too "
                    f"({others[0].get(name)} and {other.get(name)}); add it to rows=, or name "
                    "fewer runs."
                )
    found: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        found.setdefault(tuple(_value(flat[run], key) for key in keys), []).append(run)
    return {tuple(map(_text, values)): found[values] for values in sorted(found, key=_order)}


def _within(name: str, keys: Sequence[str]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for key in keys)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted keys and their values as JSON."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = json.dumps(value)
    return found


def _value(flat: Mapping[str, str], key: str) -> str:
    if key in flat:
        return flat[key]
    return ", ".join(f"{n[len(key) + 1 :]}={v}" for n, v in flat.items() if n.startswith(f"{key}."))


def _order(values: tuple[str, ...]) -> tuple[tuple[int, float, str], ...]:
    """Numbers by size, then texts."""
    found = []
    for value in values:
        try:
            found.append((0, float(value), ""))
        except ValueError:
            found.append((1, 0.0, value))
    return tuple(found)


def _text(value: str) -> str:
    return value.strip('"')


def _evaluations(run: Run) -> list[str]:
    paths = run.folder.evaluations.glob("*/result.json")
    return [path.parent.name for path in paths if read_evaluation(path.parent).result["scored"]]


def _table(rows: Mapping[tuple[str, ...], Sequence[Run]], name: str) -> list[RowResult]:
    results = []
    for number, (label, runs) in enumerate(rows.items()):
        found = [made for run in runs if (made := _evaluation(run, name))]
        kept, mixed = comparable(found)
        missing = "" if len(found) == len(runs) else f"{len(found)} of {len(runs)} seeds evaluated"
        reference = 0 if number else None
        if name == ALONE:
            results.append(RowResult(label, tuple(runs), of_training=True))
        else:
            status = mixed or missing
            results.append(RowResult(label, tuple(runs), tuple(kept), status, None, reference))
    return results


def _evaluation(run: Run, name: str) -> Evaluation | None:
    if name == ALONE:
        return None
    path = EvaluationFolder(run.folder.evaluations / name)
    return read_evaluation(path.path) if path.result.is_file() else None
