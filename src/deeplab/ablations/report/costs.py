"""Columns on the cost of rows and on the files of their runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Literal

from deeplab.ablations.report.row_results import RowResult, SeedResult, TableResult
from deeplab.tracking.result import PAPER_COST_LABEL
from deeplab.utils.constants import PAGE_FILE
from deeplab.utils.text import MINUS, format_duration
from deeplab.utils.text_table import Cell, Column, Link

DIFFERS_MARK = "≠"
"""Mark of multiply-adds that differ from the paper's."""

COST_TOLERANCE = 1e-3
"""Relative difference from the paper's multiply-adds above which a value is marked."""

TableColumn = tuple[Column, Callable[[RowResult], Cell]]
"""A column and the function that returns its cell of a row."""


def multiply_adds(row: RowResult) -> list[float]:
    """Return the distinct multiply-adds of a row's evaluations by the paper's rule, in 10^9."""
    costs = [e.result.cost for e in row.evaluations]
    return list(dict.fromkeys(cost.multiply_adds.paper / 1e9 for cost in costs if cost))


def differs_from_paper(row: RowResult) -> bool:
    """Return whether the multiply-adds differ from those that the paper prints."""
    printed = row.paper.multiply_adds
    return printed is not None and any(
        abs(counted - printed) > COST_TOLERANCE * printed for counted in multiply_adds(row)
    )


def cost_columns(table: TableResult, folder: Path) -> list[TableColumn]:
    """Return the columns for multiply-adds, parameters, time, memory, runs and files.

    Args:
        table: results of the table.
        folder: folder of the report, which links are relative to.
    """
    group = PAPER_COST_LABEL
    counted = Column("here", group, number=True, name=f"{group} here")
    if not any(row.paper.multiply_adds for row in table.rows):
        counted = Column(group, number=True)

    def here(row: RowResult) -> Cell:
        counts = multiply_adds(row)
        text = " or ".join(_billions(value) for value in counts)
        mark = f" {DIFFERS_MARK}" if differs_from_paper(row) else ""
        return Cell(text + mark, data={"": counts[0]} if len(counts) == 1 else None)

    def parameters(row: RowResult) -> Cell:
        counts = {cost.parameters for e in row.evaluations if (cost := e.result.cost)}
        return number_cell(counts.pop() / 1e6) if len(counts) == 1 else Cell()

    return [
        (
            Column("paper", group, number=True, name=f"{group} paper"),
            lambda row: number_cell(row.paper.multiply_adds),
        ),
        (counted, here),
        (Column("parameters, M", number=True), parameters),
        (Column("time", "training", number=True, name="training time"), _training_time),
        (
            Column("memory, MB", "training", number=True, name="training memory, MB"),
            _training_memory,
        ),
        (Column("ms", "one image", number=True, name="one image, ms"), _latency),
        (
            Column("memory, MB", "one image", number=True, name="one image, memory, MB"),
            _inference_memory,
        ),
        (Column("run"), lambda row: _runs(row, folder)),
        (Column("files"), lambda row: _files(row, folder)),
    ]


def _billions(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _training_time(row: RowResult) -> Cell:
    seconds = [r.seconds for run in row.runs if (r := run.result) and r.seconds is not None]
    if not seconds:
        return Cell()
    return Cell(format_duration(mean(seconds)), data={", s": mean(seconds)})


def _training_memory(row: RowResult) -> Cell:
    """Return the peak memory of a device during training, which is measured on GPUs only."""
    peaks = [r.peak_memory_bytes for run in row.runs if (r := run.result) and r.peak_memory_bytes]
    return Cell(f"{max(peaks) / 1e6:.0f}", data={"": max(peaks) / 1e6}) if peaks else Cell()


def _latency(row: RowResult) -> Cell:
    seconds = measurements(row.seed_results, "latency")
    if not seconds:
        return Cell()
    return Cell(f"{1e3 * mean(seconds):.1f}", data={"": 1e3 * mean(seconds)})


def _inference_memory(row: RowResult) -> Cell:
    peaks = measurements(row.seed_results, "peak_memory_bytes")
    return Cell(f"{mean(peaks) / 1e6:.0f}", data={"": mean(peaks) / 1e6}) if peaks else Cell()


def measurements(
    seed_results: Sequence[SeedResult], quantity: Literal["latency", "peak_memory_bytes"]
) -> list[float]:
    """Return what was measured on one image.

    Args:
        seed_results: the results of a row; those without a measurement are skipped.
        quantity: ``latency`` in seconds, or ``peak_memory_bytes``.
    """
    costs = [s.evaluation.result.cost for s in seed_results if s.evaluation]
    values = [getattr(cost.measured, quantity) for cost in costs if cost and cost.measured]
    return [float(value) for value in values if value is not None]


def _runs(row: RowResult, folder: Path) -> Cell:
    runs = [(s.name, s.run.folder.path) for s in row.seed_results if s.run]
    return Cell(links=tuple(Link.relative(name, path, folder) for name, path in runs))


def _files(row: RowResult, folder: Path) -> Cell:
    """Return links to the files, grouped by kind: "examples R1", "R2", "archive R1", "R2"."""
    kinds: dict[str, list[tuple[SeedResult, Path]]] = {}
    for seed_result in row.seed_results:
        archive = [("archive", seed_result.archive)] if seed_result.archive else []
        views = [(kind, path) for kind, path in _prediction_views(seed_result) if path.is_file()]
        for kind, path in [*views[:1], *archive]:
            kinds.setdefault(kind, []).append((seed_result, path))
    links = []
    for kind, files in kinds.items():
        for i, (seed_result, path) in enumerate(files):
            words = ((kind, i == 0), (seed_result.name, len(row.seed_results) > 1))
            text = " ".join(word for word, shown in words if shown)
            links.append(Link.relative(text, path, folder))
    return Cell(links=tuple(links))


def _prediction_views(seed_result: SeedResult) -> list[tuple[str, Path]]:
    """Return the files that show the predictions, the most detailed first."""
    if not seed_result.evaluation:
        return []
    folder = seed_result.evaluation.folder
    return [("gallery", folder.gallery / PAGE_FILE), ("examples", folder.examples)]


def number_cell(value: float | None, format_spec: str = ".2f") -> Cell:
    """Return a cell with a formatted number; an empty one for None."""
    if value is None:
        return Cell()
    return Cell(format(value, format_spec).replace("-", MINUS), data={"": value})
