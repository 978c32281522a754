"""Writing of reports on ablation tables and on grids of runs."""

from collections.abc import Sequence
from pathlib import Path

from deeplab.ablations.distinct_jobs import Job
from deeplab.ablations.report.collect_grid import TRAINING, collect_grid_results
from deeplab.ablations.report.collect_tables import collect_table_results
from deeplab.ablations.report.columns import table_columns
from deeplab.ablations.report.figures import draw_figures
from deeplab.ablations.report.latex import format_latex
from deeplab.ablations.report.provenance import describe_initial_weights, describe_provenance
from deeplab.ablations.report.row_results import TableResult
from deeplab.ablations.report.sheet import (
    Header,
    Sheet,
    cell_spans,
    heading_groups,
    merge_legends,
)
from deeplab.ablations.report.significance import compare_with_reference
from deeplab.ablations.report.statistics import Sampler
from deeplab.ablations.report.table_notes import table_legend, table_notes
from deeplab.ablations.run_index import FindRun, Run
from deeplab.ablations.sweep import name_other_code, other_code_lines
from deeplab.ablations.sweep_request import SweepRequest
from deeplab.utils.errors import report_write_errors
from deeplab.utils.files import remove_leftovers, write_text
from deeplab.utils.templates import render_template
from deeplab.utils.text_table import TextTable


def write_report(
    request: SweepRequest, jobs: Sequence[Job], find_run: FindRun, folder: Path
) -> Path:
    """Write the report on tables and return the path of its HTML page.

    Args:
        request: the tables and the preset.
        jobs: the distinct jobs of the tables.
        find_run: returns the run of a job.
        folder: where the files are written.

    Raises:
        UserError: files of a run are damaged, or the report cannot be written.
    """
    tables = collect_table_results(request, jobs, find_run)
    preset = request.preset
    overrides = [f"All rows with {' '.join(request.overrides)}."] if request.overrides else []
    origin = [*describe_initial_weights(jobs), *describe_provenance(tables)]
    lines = [*overrides, *origin, *(f"{line}." for line in other_code_lines(jobs, find_run))]
    return _write(tables, Header(f"Ablations: {preset.title}", preset.note, lines), folder)


def write_grid_report(runs: Sequence[Run], keys: Sequence[str], folder: Path) -> Path:
    """Write the report on a grid of runs and return the path of its HTML page.

    Args:
        runs: all runs, finished or not.
        keys: dotted keys of the config that distinguish the rows; seeds are averaged.
        folder: where the files are written.

    Raises:
        UserError: no run is finished, a key is unknown, or runs differ in other keys too.
    """
    tables = collect_grid_results(runs, keys)
    lines = [*describe_provenance(tables), *(f"{line}." for line in _other_code_lines(tables))]
    header = Header(f"Runs by {', '.join(keys)}", None, lines)
    return _write(tables, header, folder)


def _other_code_lines(tables: Sequence[TableResult]) -> list[str]:
    """Return a line that names the rows of a grid that other code than the present has made."""
    rows = [
        f"{table.name} row {row.number}"
        for table in tables
        for row in table.rows
        for seed in row.seed_results
        if seed.run
        and seed.run.made_by_other_code([] if table.name == TRAINING else [seed.evaluation])
    ]
    return name_other_code(list(dict.fromkeys(rows)))


def _write(tables: Sequence[TableResult], header: Header, folder: Path) -> Path:
    sampler = Sampler()
    pages = {"report.md": folder / "report.md", "report.html": folder / "index.html"}
    with report_write_errors(f"report in {folder}"):
        remove_leftovers(folder)
        sheets = [_sheet(table, tables, sampler, folder) for table in tables]
        for sheet in sheets:
            write_text(folder / f"{sheet.name}.csv", sheet.table.as_csv())
            write_text(folder / f"{sheet.name}.tex", format_latex(sheet))
        for template, page in pages.items():
            text = render_template(
                "deeplab.ablations.report",
                template,
                title=header.title,
                header=header,
                legend=merge_legends(sheets),
                sheets=sheets,
                cell_spans=cell_spans,
                heading_groups=heading_groups,
            )
            write_text(page, text)
    return pages["report.html"]


def _sheet(
    table: TableResult, tables: Sequence[TableResult], sampler: Sampler, folder: Path
) -> Sheet:
    comparisons = {
        (row.number, i, score): compare_with_reference(table, row, i, score, sampler)
        for score in table.scores
        for i in range(len(table.conditions))
        for row in table.rows
    }
    columns, cells = zip(*table_columns(table, comparisons, folder), strict=True)
    text_table = TextTable(columns, tuple(tuple(c(row) for c in cells) for row in table.rows))
    scored = sum(bool(row.scored) for row in table.rows)
    return Sheet(
        table.name,
        table.title,
        table.setting,
        text_table.without_empty_columns(),
        tuple(table_notes(table, comparisons, tables)),
        tuple(table_legend(table, comparisons)),
        tuple(draw_figures(table, folder)),
        f"{scored} of {len(table.rows)} rows scored",
    )
