"""Sheets of a report: a table with its texts and figures, independent of the format."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from deeplab.utils.text_table import Cell, Column, TextTable


class Header(NamedTuple):
    """Text at the top of a report."""

    title: str
    note: str | None
    """Warning to readers of the numbers."""
    lines: Sequence[str]


class FigureFile(NamedTuple):
    """Figure in the report's folder."""

    name: str
    caption: str
    size: tuple[int, int]
    """Width and height on a wide page, in pixels."""
    data: str = ""
    """CSV file with its numbers, if it has one of its own."""


class Sheet(NamedTuple):
    """One table of a report."""

    name: str
    """Stem of the names of its files."""
    title: str
    setting: str
    table: TextTable
    notes: tuple[str, ...]
    """Notes on this table."""
    legend: tuple[str, ...]
    """Explanations of columns and marks; several tables may share them."""
    figures: tuple[FigureFile, ...]
    summary: str
    """Number of rows that have scores."""

    @property
    def shown(self) -> TextTable:
        """The table without the columns that only the CSV file has."""
        return self.table.select(lambda _, column: not column.data_only)


def merge_legends(sheets: Sequence[Sheet]) -> list[str]:
    """Return the explanations of columns and marks of all tables, each once."""
    return list(dict.fromkeys(line for sheet in sheets for line in sheet.legend))


def cell_spans(columns: Sequence[Column], row: Sequence[Cell]) -> list[tuple[Column, Cell, int]]:
    """Return the cells of a row, each with its column and the number of columns that it takes."""
    spans: list[tuple[Column, Cell, int]] = []
    covered = 0
    for i, cell in enumerate(row):
        if covered:
            covered -= 1
            continue
        width = 1
        while (
            cell.wide
            and i + width < len(row)
            and columns[i + width].group == columns[i].group
            and not row[i + width].filled
        ):
            width += 1
        covered = width - 1
        spans.append((columns[i], cell, width))
    return spans


def heading_groups(columns: Sequence[Column]) -> list[tuple[str, list[Column]]]:
    """Return the groups in the first heading line with their columns; "" has one column."""
    groups = groupby(enumerate(columns), lambda item: item[1].group or item[0])
    return [
        (members[0].group, members) for _, items in groups if (members := [c for _, c in items])
    ]
