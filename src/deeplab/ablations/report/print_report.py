"""Reports in the terminal."""

import shutil
import textwrap
from collections.abc import Sequence
from itertools import islice

from deeplab.ablations.distinct_jobs import Job
from deeplab.ablations.report.columns import TICK
from deeplab.ablations.report.sheet import Sheet, merge_legends
from deeplab.ablations.run_index import FindRun
from deeplab.ablations.sweep_request import SweepRequest
from deeplab.config.overrides import typed_override
from deeplab.tracking.evaluation_protocol import differences
from deeplab.utils.program import command
from deeplab.utils.text import print_folded, printable
from deeplab.utils.text_table import Cell, Column, TextTable

ON_PAPER_ONLY = ("run", "files", "training: memory, MB", "one image: memory, MB")
"""Columns that the terminal leaves out."""

MAX_LINE = 100
"""Number of characters of a line of text."""


def print_sheets(sheets: Sequence[Sheet], *, of_variants: bool) -> None:
    """Print the tables with their notes, as wide as the terminal; variants as they were typed."""
    width = shutil.get_terminal_size().columns
    for sheet in sheets:
        print()
        print_folded(f"{printable(sheet.title)} ({printable(sheet.setting)})")
        print()
        table, problems = _labeled(sheet.shown, " " if of_variants else ", ")
        print(_fit(table, width))
        _print_list([*problems, *sheet.notes], width)
    _print_list(merge_legends(sheets), width)


def _labeled(table: TextTable, separator: str) -> tuple[TextTable, list[str]]:
    """Return the table with one column for the number of a row and its settings.

    The reasons for missing scores, which are long, are returned as lines.
    """
    problems: list[str] = []
    columns = [i for i, column in enumerate(table.columns) if column.identifies_row]
    kept = table.select(lambda i, c: i not in columns and c.full_title not in ON_PAPER_ONLY)
    rows = []
    for row, others in zip(table.rows, kept.rows, strict=True):
        number, *cells = (row[i].text for i in columns)
        keys = [table.columns[i].title for i in columns[1:]]
        settings = separator.join(
            key if cell == TICK else f"{key}={cell}"
            for key, cell in zip(keys, cells, strict=True)
            if cell
        )
        problems += [f"Row {number}: {cell.text}." for cell in others if cell.wide and cell.text]
        shown = [Cell("no score") if cell.wide and cell.text else cell for cell in others]
        rows.append((Cell(f"{number}: {settings}"), *shown))
    return TextTable((Column("row"), *kept.columns), tuple(rows)), problems


def _fit(table: TextTable, width: int) -> str:
    """Return the text of a table, without its last columns, the costs, where it is too wide."""
    labels = {printable(row[0].text) for row in table.rows}
    for kept in range(len(table.columns), 1, -1):
        shown = TextTable(table.columns[:kept], tuple(row[:kept] for row in table.rows))
        text = shown.as_text(width)
        if all(len(line) <= width for line in text.splitlines() if line not in labels):
            break
    return text


def _print_list(texts: Sequence[str], width: int) -> None:
    if texts:
        print()
    for text in texts:
        print(
            textwrap.fill(
                printable(text),
                min(width, MAX_LINE),
                initial_indent="- ",
                subsequent_indent="  ",
                break_long_words=False,
            )
        )


def print_next_steps(request: SweepRequest, jobs: Sequence[Job], find_run: FindRun) -> None:
    """Print commands that go on from the report."""
    print(f"Next:   more seeds: {_more_seeds(request)} in the same command; finished runs are kept")
    found = {
        (e.table, e.row, job.config.seed): (run.folder.path, evaluation.protocol)
        for job in jobs
        if job.config.stage.task == "segmentation"
        for e in job.row_evaluations
        if (run := find_run(job)) and (evaluation := run.evaluation(e))
    }
    for (name, number, seed), (path, protocol) in found.items():
        table = request.tables[name]
        reference = table.rows[number - 1].reference or table.reference or number
        its_path, its_protocol = found.get((name, reference, seed), (path, protocol))
        if path != its_path and not differences(its_protocol, protocol, ignore=["strategy"]):
            print(
                f"        image by image, row {number} against row {reference}, seed {seed}: "
                f"{command('gallery')} {typed_override('run', path)} "
                f"{typed_override('compare_with', its_path)}"
            )
            return


def _more_seeds(request: SweepRequest) -> str:
    """Return the key that adds two seeds, in the form of the typed one."""
    count = len(request.seeds) + 2
    if not request.typed_seeds.startswith("seed="):
        key = f"num_seeds={count}"
    else:
        unused = (n for n in range(max(request.seeds) + 3) if n not in request.seeds)
        key = f"seed={','.join(map(str, [*request.seeds, *islice(unused, 2)]))}"
    return f"{key} instead of {request.typed_seeds}" if request.typed_seeds else key
