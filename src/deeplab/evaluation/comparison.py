"""Evaluations side by side: a table, their curves around object borders, accuracy over cost.

Only what was measured under the same conditions comes into one table; the inference strategy is
part of a row's name and may differ.
"""

import csv
import glob
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from deeplab.config.schema.scripts import CompareConfig
from deeplab.evaluation.evaluation_folder import Evaluation, read_evaluation
from deeplab.evaluation.plots import plot_boundary, plot_cost
from deeplab.tracking.protocol import differences
from deeplab.utils.errors import UserError, writing
from deeplab.utils.files import write_text

SCORES = ("mIoU", "pixel accuracy", "boundary IoU", "boundary F")
FILES = ("table.csv", "boundary.png", "cost.png")
"""What is written for each group."""

COLUMNS = (*SCORES, "parameters", "multiply-adds", "seconds", "peak memory")
"""Multiply-adds are by the paper's rule, seconds and bytes for one image."""


def run_comparison(config: CompareConfig) -> list[list[Evaluation]]:
    """Print a table for each group of comparable evaluations and write its files.

    Raises:
        UserError: a path holds no evaluation, or none that was scored.
    """
    found = _once(e for path in config.runs for e in _evaluations(path))
    if other := next((e for e in found if "top1_error" in e.result), None):
        raise UserError(
            f"runs: {other.name} is a classifier's. compare.py is about segmentation networks; "
            "python src/ablations.py report runs=... rows=backbone has classifiers side by side."
        )
    scored = [e for e in found if e.result["scored"]]
    if not scored:
        raise UserError("runs: none of these evaluations has scores; their images have no masks.")
    groups = comparable(scored)
    output = Path(config.output).expanduser()
    with writing(f"output={config.output}"):
        _remove_earlier(output)
        _write_groups(output, groups)
    return groups


def _write_groups(output: Path, groups: Sequence[Sequence[Evaluation]]) -> None:
    for number, group in enumerate(groups):
        if number:
            reasons = differences(groups[0][0].protocol, group[0].protocol, without=["strategy"])
            print("Not in one table with the above: " + "; ".join(reasons) + ".")
        _write(output / (f"group{number + 1}" if len(groups) > 1 else ""), group)


def _remove_earlier(output: Path) -> None:
    """The files of an earlier comparison, and nothing else.

    Raises:
        UserError: files of these names are there that no comparison has written.
    """
    folders = (output, *output.glob("group[0-9]*"))
    there = {f: [f / name for name in FILES if (f / name).exists()] for f in folders}
    for folder, files in there.items():
        if files and not _is_ours(folder):
            raise UserError(
                f"output={output}: {files[0]} is there, and compare.py has not made it. Name "
                "another folder."
            )
    for folder, files in there.items():
        for file in files:
            file.unlink()
        if folder != output and not any(folder.iterdir()):
            folder.rmdir()


def _is_ours(folder: Path) -> bool:
    """Whether its table is one of comparisons, by its first columns."""
    try:
        with (folder / FILES[0]).open(encoding="utf-8") as table:
            return table.readline().startswith("evaluation,mIoU,")
    except (FileNotFoundError, ValueError):
        return False


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


def _evaluations(named: str) -> list[Evaluation]:
    """That of a folder, or all of a run's; of all folders that a pattern stands for."""
    folder = Path(named).expanduser()
    matches = sorted(glob.glob(str(folder)))  # noqa: PTH207  pathlib's takes no / in front
    folders = [folder] if folder.exists() else [Path(match) for match in matches]
    if not folders:
        raise UserError(f"runs={named}: this does not exist, and is no pattern of what does.")
    found = [
        result.parent
        for place in folders
        for pattern in ("result.json", "*/result.json", "evaluations/*/result.json")
        for result in sorted(place.glob(pattern))
    ]
    if not found:
        raise UserError(f"runs={named}: no evaluation there (result.json); evaluate.py makes one.")
    return [read_evaluation(path) for path in found]


def _once(evaluations: Iterable[Evaluation]) -> list[Evaluation]:
    return list({e.folder.path.resolve(): e for e in evaluations}.values())


def _row(evaluation: Evaluation) -> dict[str, Any]:
    result = evaluation.result
    measured = result["cost"].get("measured") or {}
    return {
        "mIoU": result["mIoU"],
        "pixel accuracy": result["pixel_accuracy"],
        "boundary IoU": result["boundary"]["boundary_IoU"],
        "boundary F": result["boundary"]["boundary_F"],
        "parameters": result["cost"]["parameters"],
        "multiply-adds": result["cost"]["multiply_adds"]["paper"],
        "seconds": measured.get("latency"),
        "peak memory": measured.get("peak_memory_bytes"),
    }


def _write(folder: Path, group: Sequence[Evaluation]) -> None:
    names = _names(group)
    rows = {name: _row(evaluation) for name, evaluation in zip(names, group, strict=True)}
    print(f"\n{_table(rows)}\n")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("evaluation", *COLUMNS))
    writer.writerows((name, *row.values()) for name, row in rows.items())
    table, boundary, accuracy = FILES
    write_text(folder / table, text.getvalue())
    curves = {n: e.result["boundary"]["bands"] for n, e in zip(names, group, strict=True)}
    if known := {name: bands for name, bands in curves.items() if bands}:
        plot_boundary(folder / boundary, known)
    points = [
        (name, row["multiply-adds"] / 1e9, row["mIoU"])
        for name, row in rows.items()
        if row["mIoU"] is not None
    ]
    if points:
        plot_cost(folder / accuracy, points)
    made = [name for name, there in ((boundary, known), (accuracy, points)) if there]
    print(f"  in {folder}: {', '.join([table, *made])}")


def _names(group: Sequence[Evaluation]) -> list[str]:
    """The evaluations' names; where two have the same, with as much of their paths as it takes."""
    paths = [evaluation.folder.path.resolve() for evaluation in group]
    names = [evaluation.name for evaluation in group]
    parts = 3  # runs/NAME/evaluations/EVALUATION is named NAME/EVALUATION
    while len(set(names)) < len(set(paths)):
        parts += 1
        same = Counter(names)
        names = [
            "/".join(path.parts[-parts:]) if same[name] > 1 else name
            for name, path in zip(names, paths, strict=True)
        ]
    return names


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
        return f"{value:.2f} %"
    return {
        "parameters": f"{value / 1e6:.2f} M",
        "multiply-adds": f"{value / 1e9:.2f} B",
        "seconds": f"{1e3 * value:.1f} ms",
        "peak memory": f"{value / 1e6:.0f} MB",
    }[column]
