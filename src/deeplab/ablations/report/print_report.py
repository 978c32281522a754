"""Reports in the terminal."""

import shutil
import textwrap
from collections.abc import Sequence

from deeplab.ablations.distinct_jobs import Job
from deeplab.ablations.report.sheet import Sheet, merge_legends
from deeplab.ablations.run_index import FindRun
from deeplab.tracking.evaluation_protocol import differences
from deeplab.utils.program import command
from deeplab.utils.text import printable
from deeplab.utils.text_table import Cell, Column, TextTable

ON_PAPER_ONLY = ("run", "files", "training: memory, MB", "one image: memory, MB")
"""Columns that the terminal leaves out."""

MAX_LINE = 100
"""Number of characters of a line of text."""


def print_sheets(sheets: Sequence[Sheet]) -> None:
    """Print the tables of a plain sweep with their notes, as wide as the terminal."""
    width = shutil.get_terminal_size().columns
    for sheet in sheets:
        print(f"\n{printable(sheet.title)} ({printable(sheet.setting)})\n")
        table, problems = _labeled(sheet.shown)
        print(table.as_text(width))
        _print_list([*problems, *sheet.notes], width)
    _print_list(merge_legends(sheets), width)


def _labeled(table: TextTable) -> tuple[TextTable, list[str]]:
    """Return the table with one column for the number of a row and its overrides as typed.

    The reasons for missing scores, which are long, are returned as lines.
    """
    problems: list[str] = []
    columns = [i for i, column in enumerate(table.columns) if column.identifies_row]
    kept = table.select(lambda i, c: i not in columns and c.full_title not in ON_PAPER_ONLY)
    rows = []
    for row, others in zip(table.rows, kept.rows, strict=True):
        number, *cells = (row[i].text for i in columns)
        keys = [table.columns[i].title for i in columns[1:]]
        typed = " ".join(f"{key}={cell}" for key, cell in zip(keys, cells, strict=True))
        problems += [f"Row {number}: {cell.text}." for cell in others if cell.wide and cell.text]
        shown = [Cell("no score") if cell.wide and cell.text else cell for cell in others]
        rows.append((Cell(f"{number}: {typed}"), *shown))
    return TextTable((Column("variant"), *kept.columns), tuple(rows)), problems


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


def print_next_steps(jobs: Sequence[Job], find_run: FindRun) -> None:
    """Print commands that go on from the report on a plain sweep."""
    print("Next:   more seeds: add seed=0,1,2,... to the same command; finished runs are kept")
    found = {
        e.variant: (run.folder.path, evaluation.protocol)
        for job in reversed(jobs)
        for e in reversed(job.row_evaluations)
        if (run := find_run(job)) and (evaluation := run.evaluation(e))
    }
    if len(found) < 2 or jobs[0].config.stage.task != "segmentation":
        return
    (second, its_protocol), (first, protocol) = list(found.values())[-2:]
    if not differences(protocol, its_protocol, ignore=["strategy"]):
        gallery = command("gallery")
        print(f"        image by image: {gallery} run={first} compare_with={second}")
