"""Writing of reports on tables."""

from collections.abc import Sequence
from pathlib import Path

from deeplab.ablations.distinct_jobs import Job
from deeplab.ablations.report.collect_tables import changes_row, collect_table_results
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
from deeplab.ablations.report.table_notes import distinct, table_legend, table_notes
from deeplab.ablations.run_index import FindRun
from deeplab.ablations.sweep import other_code_lines, shared_overrides
from deeplab.ablations.sweep_request import SweepRequest
from deeplab.config.own_nodes import describe_own_code
from deeplab.utils.constants import PAGE_FILE
from deeplab.utils.files import remove_leftovers, write_text
from deeplab.utils.templates import render_template
from deeplab.utils.text_table import TextTable
from deeplab.utils.write_errors import report_write_errors


def write_report(
    request: SweepRequest,
    jobs: Sequence[Job],
    find_run: FindRun,
    find_stale_run: FindRun,
    folder: Path,
) -> list[Sheet]:
    """Write the report on tables and return its sheets.

    Args:
        request: the tables and the preset.
        jobs: the distinct jobs of the tables.
        find_run: returns the run of a job.
        find_stale_run: returns the run of a job, also with another version of the user's own code.
        folder: where the files are written.

    Raises:
        UserError: files of a run are damaged, or the report cannot be written.
    """
    tables = collect_table_results(request, jobs, find_run, find_stale_run)
    preset = request.preset
    shared = [
        override
        for override in shared_overrides(jobs)
        if changes_row(jobs[0].config, override) or override.startswith("data.root=")
    ]
    overrides = [f"All rows with {' '.join(shared)}."] if shared else []
    weights = describe_initial_weights(jobs, of_paper=not request.of_variants)
    own = distinct(f"Own code: {line}." for job in jobs for line in describe_own_code(job.config))
    origin = [*own, *weights, *describe_provenance(tables)]
    lines = [*overrides, *origin, *(f"{line}." for line in other_code_lines(jobs, find_run))]
    columns = ", ".join(tables[0].columns)
    title = f"Sweep over {columns}" if request.of_variants else f"Ablations: {preset.title}"
    return _write(tables, Header(title, preset.note, lines), folder)


def _write(tables: Sequence[TableResult], header: Header, folder: Path) -> list[Sheet]:
    sampler = Sampler()
    pages = {"report.md": folder / "report.md", "report.html": folder / PAGE_FILE}
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
    return sheets


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
        tuple(draw_figures(table, sampler, folder)),
        f"{scored} of {len(table.rows)} rows scored",
    )
