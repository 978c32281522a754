"""Reports from start to end: the files of one, for tables and for a grid of one's own."""

from collections.abc import Sequence
from pathlib import Path

from deeplab.ablations.jobs import SweepRequest, Training
from deeplab.ablations.report.columns import columns
from deeplab.ablations.report.figures import draw
from deeplab.ablations.report.from_grid import grid_results
from deeplab.ablations.report.from_tables import table_results
from deeplab.ablations.report.html import page
from deeplab.ablations.report.latex import latex
from deeplab.ablations.report.markdown_csv import Head, comma_separated, markdown
from deeplab.ablations.report.notes import legend, notes
from deeplab.ablations.report.provenance import provenance, starts
from deeplab.ablations.report.results import TableResult
from deeplab.ablations.report.sheet import Sheet, filled_columns
from deeplab.ablations.report.significance import compare
from deeplab.ablations.report.statistics import Sampler
from deeplab.ablations.run_index import Find, Run
from deeplab.utils.errors import report_write_errors
from deeplab.utils.files import write_text


def write_report(
    request: SweepRequest, found: Sequence[Training], find: Find, folder: Path
) -> Path:
    """The report on tables; returns its page.

    Args:
        request: the tables and the preset.
        found: their distinct trainings.
        find: which run a training is.
        folder: where the files go.

    Raises:
        UserError: what a run has left is damaged, or the files cannot be written.
    """
    tables = table_results(request, found, find)
    preset = request.preset
    on_top = [f"All rows with {' '.join(request.overrides)}."] if request.overrides else []
    lines = [*on_top, *starts(found), *provenance(tables)]
    return _write(tables, Head(f"Ablations: {preset.title}", preset.note, lines), folder)


def write_grid_report(runs: Sequence[Run], keys: Sequence[str], folder: Path) -> Path:
    """The report on runs of a grid; returns its page.

    Args:
        runs: all of them, finished or not.
        keys: dotted keys of the config, by whose values rows are told apart; seeds are averaged.
        folder: where the files go.

    Raises:
        UserError: no run is finished, a key is unknown, or runs differ in other keys too.
    """
    tables = grid_results(runs, keys)
    return _write(tables, Head(f"Runs by {', '.join(keys)}", None, provenance(tables)), folder)


def _write(tables: Sequence[TableResult], head: Head, folder: Path) -> Path:
    sampler = Sampler()
    target = folder / "index.html"
    with report_write_errors(f"report in {folder}"):
        sheets = [_sheet(table, tables, sampler, folder) for table in tables]
        for sheet in sheets:
            write_text(folder / f"{sheet.name}.csv", comma_separated(sheet, folder))
            write_text(folder / f"{sheet.name}.tex", latex(sheet))
        write_text(folder / "report.md", markdown(sheets, head, folder))
        write_text(target, page(sheets, head, folder))
    return target


def _sheet(
    table: TableResult, tables: Sequence[TableResult], sampler: Sampler, folder: Path
) -> Sheet:
    compared = {
        (row.number, i, score): compare(table, row, i, score, sampler)
        for score in table.scores
        for i in range(len(table.conditions))
        for row in table.rows
    }
    parts = columns(table, compared)
    kept, rows = filled_columns(
        [column for column, _ in parts],
        [[cell(row) for _, cell in parts] for row in table.rows],
    )
    scored = sum(bool(row.scored) for row in table.rows)
    return Sheet(
        table.name,
        table.title,
        table.setting,
        kept,
        rows,
        tuple(notes(table, compared, tables)),
        tuple(legend(table, compared)),
        tuple(draw(table, folder)),
        f"{scored} of {len(table.rows)} rows scored",
    )
