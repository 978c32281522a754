"""Evaluations side by side: a table, their curves around object borders, accuracy over cost.

Only what was measured under the same conditions comes into one table; the inference strategy is
part of a row's name and may differ.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deeplab.config import CompareConfig
from deeplab.errors import UserError
from deeplab.evaluation.curves import plot_boundary, plot_cost
from deeplab.evaluation.folder import Evaluation, read_evaluation
from deeplab.files import write_text
from deeplab.protocol import differences

SCORES = ("mIoU", "pixel accuracy", "boundary IoU", "boundary F")
COLUMNS = (*SCORES, "parameters", "multiply-adds", "seconds", "peak memory")
"""Multiply-adds are by the paper's rule, seconds and bytes for one image."""


def run_comparison(config: CompareConfig) -> list[list[Evaluation]]:
    """Print a table for each group of comparable evaluations and write its files.

    Raises:
        UserError: a path holds no evaluation, or none that was scored.
    """
    found = [e for path in config.runs for e in _evaluations(path)]
    scored = [e for e in found if e.result["scored"]]
    if not scored:
        raise UserError("runs: none of these evaluations has scores; their images have no masks.")
    groups = comparable(scored)
    for number, group in enumerate(groups):
        if number:
            reasons = differences(groups[0][0].protocol, group[0].protocol, without=["strategy"])
            print("Not in one table with the above: " + "; ".join(reasons) + ".")
        folder = Path(config.output) / (f"group{number + 1}" if len(groups) > 1 else "")
        _write(folder, group)
    return groups


def comparable(evaluations: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """Groups that were measured under the same conditions but for the strategy, in order."""
    groups: list[list[Evaluation]] = []
    for evaluation in evaluations:
        for group in groups:
            if not differences(group[0].protocol, evaluation.protocol, without=["strategy"]):
                group.append(evaluation)
                break
        else:
            groups.append([evaluation])
    return groups


def _evaluations(path: str) -> list[Evaluation]:
    """That of a folder, or all of a run's."""
    folder = Path(path).expanduser()
    inside = sorted(p.parent for p in folder.glob("evaluations/*/result.json"))
    return [read_evaluation(p) for p in inside] or [read_evaluation(folder)]


def _row(evaluation: Evaluation) -> dict[str, Any]:
    result = evaluation.result
    measured = result["cost"].get("measured") or {}
    return {
        "mIoU": result["mIoU"],
        "pixel accuracy": result["pixel_accuracy"],
        "boundary IoU": result["boundary"]["boundary_IoU"],
        "boundary F": result["boundary"]["F"],
        "parameters": result["cost"]["parameters"],
        "multiply-adds": result["cost"]["multiply_adds"]["paper"],
        "seconds": measured.get("latency"),
        "peak memory": measured.get("peak_memory"),
    }


def _write(folder: Path, group: Sequence[Evaluation]) -> None:
    rows = {evaluation.name: _row(evaluation) for evaluation in group}
    print(f"\n{_table(rows)}\n")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("evaluation", *COLUMNS))
    writer.writerows((name, *row.values()) for name, row in rows.items())
    write_text(folder / "table.csv", text.getvalue())
    curves = {e.name: e.result["boundary"]["bands"] for e in group}
    if known := {name: bands for name, bands in curves.items() if bands}:
        plot_boundary(folder / "boundary.png", known)
    points = [(n, row["multiply-adds"] / 1e9, 100 * row["mIoU"]) for n, row in rows.items()]
    plot_cost(folder / "cost.png", points)
    print(f"  table     {folder / 'table.csv'}")
    print(f"  pictures  {folder / 'cost.png'}" + (", boundary.png" if known else ""))


def _table(rows: dict[str, dict[str, Any]]) -> str:
    """For a reader; what was measured on no row is left out."""
    first = max(len(name) for name in rows)
    shown = [c for c in COLUMNS if any(row[c] is not None for row in rows.values())]
    lines = [f"{'':<{first}}" + "".join(f"{column:>16}" for column in shown)]
    for name, row in rows.items():
        cells = (_cell(column, row[column]) for column in shown)
        lines.append(f"{name:<{first}}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    if column in SCORES:
        return f"{100 * value:.2f}"
    return {
        "parameters": f"{value / 1e6:.2f} M",
        "multiply-adds": f"{value / 1e9:.2f} B",
        "seconds": f"{1e3 * value:.1f} ms",
        "peak memory": f"{value / 1e6:.0f} MB",
    }[column]
