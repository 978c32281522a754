"""Comparison of evaluations: a table, boundary curves and a figure of accuracy over cost.

A table holds only evaluations under the same conditions; the inference strategy is part of a
row's name and may differ.
"""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from deeplab.config.own_nodes import trained_versions
from deeplab.config.schema.model import ModelConfig
from deeplab.config.schema.scripts import CompareConfig
from deeplab.evaluation.evaluation_folder import RESULT_FILE, Evaluation, read_evaluation
from deeplab.evaluation.plots import plot_boundary, plot_cost, split_common_prefix
from deeplab.metrics.definitions import BOUNDARY, SEGMENTATION
from deeplab.tracking.evaluation_protocol import differences
from deeplab.tracking.result import PAPER_COST_LABEL
from deeplab.tracking.run_folder import RunFolder, read_run
from deeplab.utils.errors import UserError
from deeplab.utils.files import check_writable, write_text
from deeplab.utils.program import command
from deeplab.utils.reading import exists
from deeplab.utils.text_table import Column, TextTable, number_column
from deeplab.utils.write_errors import report_write_errors

METRICS = (*SEGMENTATION, *BOUNDARY)
"""Metrics of the columns."""

FILES = ("table.csv", "boundary.png", "cost.png")
"""Files that are written for each group."""

COLUMNS = (
    *(number_column(f"{m.label}, %", ".2f", name=m.label) for m in METRICS),
    number_column("params, M", ".2f", unit=1e6, name="parameters"),
    number_column(PAPER_COST_LABEL, ".2f", unit=1e9, name="multiply-adds"),
    number_column("time, ms", ".1f", unit=1e-3, name="seconds"),
    number_column("memory, MB", ".0f", unit=1e6, name="peak memory"),
)
"""Columns of a table: multiply-adds by the paper's rule, time and peak memory for one image."""


def run_comparison(config: CompareConfig) -> list[list[Evaluation]]:
    """Print a table for each group of comparable evaluations and write its files.

    Raises:
        UserError: a path holds no evaluation, or no evaluation with scores.
    """
    output = Path(config.output).expanduser()
    check_writable(output, f"output={config.output}")
    evaluations = _unique(e for path in config.runs for e in _find_evaluations(path))
    if classifier := next((e for e in evaluations if e.result.is_classifier), None):
        raise UserError(
            f"runs: {classifier.name} is the evaluation of a classifier. {command('compare')} "
            f"compares segmentation networks. A sweep, as {command('train')} -m data=... "
            "backbone=A,B, ends with a table of classifiers."
        )
    scored = [e for e in evaluations if e.result.scored]
    if not scored:
        raise UserError(
            "runs: none of these evaluations has scores, because their images have no masks. Name "
            "evaluations on a split with masks."
        )
    groups = group_comparable(scored)
    with report_write_errors(f"output={config.output}"):
        _remove_previous(output)
        _write_groups(output, groups)
    return groups


def _write_groups(output: Path, groups: Sequence[Sequence[Evaluation]]) -> None:
    for number, group in enumerate(groups):
        if number:
            reasons = differences(groups[0][0].protocol, group[0].protocol, ignore=["strategy"])
            print("Not comparable with the table above: " + "; ".join(reasons) + ".")
        _write(output / (f"group{number + 1}" if len(groups) > 1 else ""), group)


def _remove_previous(output: Path) -> None:
    """Remove the files of a previous comparison, and nothing else.

    Raises:
        UserError: files with these names exist that no comparison has written.
    """
    folders = (output, *output.glob("group[0-9]*"))
    existing = {f: [f / name for name in FILES if (f / name).exists()] for f in folders}
    for folder, files in existing.items():
        if files and not _is_comparison(folder):
            raise UserError(
                f"output={output}: {files[0]} exists and was not written by "
                f"{command('compare')}. Choose another folder."
            )
    for folder, files in existing.items():
        for file in reversed(files):  # the table, which tells whose they are, last
            file.unlink()
        if folder != output and not any(folder.iterdir()):
            folder.rmdir()


def _is_comparison(folder: Path) -> bool:
    """Return whether the table in a folder is a comparison's, by its first columns."""
    try:
        with (folder / FILES[0]).open(encoding="utf-8") as table:
            return table.readline().startswith("evaluation,mIoU,")
    except (FileNotFoundError, ValueError):
        return False


def group_comparable(evaluations: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """Group evaluations under the same conditions (except for the strategy), in order."""
    groups: list[list[Evaluation]] = []
    for evaluation in evaluations:
        for group in groups:
            if not differences(group[0].protocol, evaluation.protocol, ignore=["strategy"]):
                group.append(evaluation)
                break
        else:
            groups.append([evaluation])
    return groups


def _find_evaluations(path: str) -> list[Evaluation]:
    """Read the evaluation in a folder, or all of a run; ``path`` may be a glob pattern."""
    folder = Path(path).expanduser()
    matches = sorted(glob.glob(str(folder)))  # noqa: PTH207  Path.glob rejects absolute patterns
    folders = [folder] if folder.exists() else [Path(match) for match in matches]
    if not folders:
        raise UserError(
            f"runs={path}: no such folder, and no folder matches it as a pattern. Name run folders "
            "or evaluation folders."
        )
    results = [
        result
        for folder in folders
        for parent in ("", "*/", "evaluations/*/")
        for result in sorted(folder.glob(f"{parent}{RESULT_FILE}"))
    ]
    if not results:
        raise UserError(
            f"runs={path}: no evaluation ({RESULT_FILE}) in it. Run {command('evaluate')} first."
        )
    return [read_evaluation(result.parent) for result in results]


def _unique(evaluations: Iterable[Evaluation]) -> list[Evaluation]:
    return list({e.folder.path.resolve(): e for e in evaluations}.values())


def _has_other_code(evaluation: Evaluation) -> bool:
    """Return True if own classes of the network have changed between training and evaluation.

    It is not known of evaluations outside of their run's folder.
    """
    run = RunFolder(evaluation.folder.path.resolve().parent.parent)
    if not evaluation.result.own_code or not exists(run.config):
        return False
    with suppress(UserError):  # of a config that the comparison does not need
        trained = trained_versions(read_run(run), ModelConfig.model_fields)
        return evaluation.result.own_code != trained
    return False


def _row(evaluation: Evaluation) -> list[Any]:
    """Return the values of the columns, in their order."""
    result = evaluation.result
    cost, measured = result.cost, result.cost and result.cost.measured
    return [
        *(result.value(metric.key) for metric in METRICS),
        cost and cost.parameters,
        cost and cost.multiply_adds.paper,
        measured and measured.latency,
        measured and measured.peak_memory_bytes,
    ]


def _write(folder: Path, group: Sequence[Evaluation]) -> None:
    names = _names(group)
    rows = {name: _row(evaluation) for name, evaluation in zip(names, group, strict=True)}
    run, _ = split_common_prefix(names)
    title = Column("evaluation", format=lambda name: name.removeprefix(f"{run}/"))
    values = TextTable.from_values([title, *COLUMNS], [(n, *row) for n, row in rows.items()])
    print("\n".join(["", *[f"{run}:"] * bool(run), values.without_empty_columns().as_text(), ""]))
    if edited := [n for n, e in zip(names, group, strict=True) if _has_other_code(e)]:
        print(
            "Evaluated with other code of the network's own classes than it was trained with: "
            f"{', '.join(edited)}."
        )
    table, boundary, accuracy = FILES
    write_text(folder / table, values.as_csv())
    results = {name: evaluation.result for name, evaluation in zip(names, group, strict=True)}
    curves = {name: r.boundary.bands for name, r in results.items() if r.boundary}
    if with_bands := {name: bands for name, bands in curves.items() if bands}:
        plot_boundary(folder / boundary, with_bands)
    points = [
        (name, r.cost.multiply_adds.paper / 1e9, score)
        for name, r in results.items()
        if r.cost and (score := r.value(r.main_metric.key)) is not None
    ]
    if points:
        plot_cost(folder / accuracy, points)
    figures = [name for name, content in ((boundary, with_bands), (accuracy, points)) if content]
    print(f"  in {folder}: {', '.join([table, *figures])}")


def _names(group: Sequence[Evaluation]) -> list[str]:
    """Return the names of the evaluations, extended by parts of their paths until unique."""
    paths = [evaluation.folder.path.resolve() for evaluation in group]
    names = [evaluation.name for evaluation in group]
    parts = 3  # runs/NAME/evaluations/EVALUATION is named NAME/EVALUATION
    while len(set(names)) < len(set(paths)):
        parts += 1
        counts = Counter(names)
        names = [
            "/".join(path.parts[-parts:]) if counts[name] > 1 else name
            for name, path in zip(names, paths, strict=True)
        ]
    return names
