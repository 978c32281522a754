"""Format-independent content of a table in a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Link(NamedTuple):
    """Link to a file."""

    text: str
    path: Path


class Cell(NamedTuple):
    """Content of one cell."""

    text: str = ""
    faint: bool = False
    """Gray text, for a missing result or one that cannot be told from chance."""
    strong: bool = False
    links: tuple[Link, ...] = ()
    """Links that replace the text."""
    wide: bool = False
    """Permission to extend over the empty cells after it that belong to the same group."""
    data: Mapping[str, Any] | None = None
    """Unrounded numbers by the suffix of the column's name; None: the text."""

    @property
    def filled(self) -> bool:
        """True if the cell has any content."""
        return bool(self.text or self.links or any(v is not None for v in self.values.values()))

    @property
    def values(self) -> Mapping[str, Any]:
        """Content for the CSV file, by the suffix of the column's name."""
        return {"": self.text or None} if self.data is None else self.data


class Column(NamedTuple):
    """Heading of a column, in two lines; adjacent columns may share the first line."""

    title: str
    group: str = ""
    number: bool = False
    """Right alignment, for numbers."""
    identifies_row: bool = False
    """Part of the row's identity (its number or settings); such columns are always kept."""
    data_only: bool = False
    """Column of the CSV file only."""
    name: str = ""
    """Heading in the CSV file; empty: the title."""

    @property
    def full_title(self) -> str:
        """Heading in one line."""
        return (
            f"{self.group}: {self.title}" if self.group and self.title else self.group or self.title
        )


class FigureFile(NamedTuple):
    """Figure in the report's folder."""

    name: str
    caption: str
    size: tuple[int, int]
    """Width and height in pixels."""


class Sheet(NamedTuple):
    """One table of a report."""

    name: str
    """Stem of the names of its files."""
    title: str
    setting: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]
    """Notes on this table."""
    legend: tuple[str, ...]
    """Explanations of columns and marks; several tables may share them."""
    figures: tuple[FigureFile, ...]
    summary: str
    """Number of rows that have scores."""


def drop_empty_columns(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]]
) -> tuple[tuple[Column, ...], tuple[tuple[Cell, ...], ...]]:
    """Return columns and rows without the columns that are empty in all rows."""
    kept = [
        i for i, c in enumerate(columns) if c.identifies_row or any(row[i].filled for row in rows)
    ]
    return (
        tuple(columns[i] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in rows),
    )


def drop_data_columns(sheet: Sheet) -> Sheet:
    """Return the sheet without the columns that only the CSV file has."""
    kept = [i for i, column in enumerate(sheet.columns) if not column.data_only]
    return sheet._replace(
        columns=tuple(sheet.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in sheet.rows),
    )


def cell_spans(columns: Sequence[Column], row: Sequence[Cell]) -> list[tuple[Cell, int]]:
    """Return the cells of a row, each with the number of columns that it takes."""
    spans: list[tuple[Cell, int]] = []
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
        spans.append((cell, width))
    return spans


def heading_groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Return the groups in the first heading line, each with its number of columns."""
    groups: list[tuple[str, int]] = []
    for column in columns:
        if groups and column.group and groups[-1][0] == column.group:
            groups[-1] = (column.group, groups[-1][1] + 1)
        else:
            groups.append((column.group, 1))
    return groups
