"""A table as it is read, whatever it is written as."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Link(NamedTuple):
    """A text that leads to a file."""

    text: str
    path: Path


class Cell(NamedTuple):
    """What stands under a column."""

    text: str = ""
    faint: bool = False
    """No result, or none that can be told from chance."""
    strong: bool = False
    links: tuple[Link, ...] = ()
    """In place of the text."""
    wide: bool = False
    """Whether it may extend over the empty cells behind it that stand under the same group."""
    data: Mapping[str, Any] | None = None
    """Numbers as they are, by what is added to the column's name; none: the text."""

    @property
    def filled(self) -> bool:
        """Whether there is anything."""
        return bool(self.text or self.links or any(v is not None for v in self.values.values()))

    @property
    def values(self) -> Mapping[str, Any]:
        """For a program."""
        return {"": self.text or None} if self.data is None else self.data


class Column(NamedTuple):
    """Its heading is in two lines, of which the first may be common to several."""

    title: str
    group: str = ""
    number: bool = False
    """Whether it is set to the right."""
    of_row: bool = False
    """Whether it says which row it is."""
    data_only: bool = False
    """For programs, not for readers."""
    name: str = ""
    """For programs; none: the title."""

    @property
    def full(self) -> str:
        """Its heading in one line."""
        return (
            f"{self.group}: {self.title}" if self.group and self.title else self.group or self.title
        )


class Picture(NamedTuple):
    """Beside the report."""

    name: str
    says: str
    """What is to be seen."""
    size: tuple[int, int]
    """Width and height in pixels."""


class Sheet(NamedTuple):
    """One table."""

    name: str
    """Of its files."""
    title: str
    setting: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]
    """Of this table."""
    legend: tuple[str, ...]
    """How its columns and marks are to be read, which others may have too."""
    pictures: tuple[Picture, ...]
    summary: str
    """How much of it there is."""


def filled_columns(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]]
) -> tuple[tuple[Column, ...], tuple[tuple[Cell, ...], ...]]:
    """Without the columns that no row fills."""
    kept = [i for i, c in enumerate(columns) if c.of_row or any(row[i].filled for row in rows)]
    return (
        tuple(columns[i] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in rows),
    )


def for_readers(sheet: Sheet) -> Sheet:
    """Without the columns that are for programs."""
    kept = [i for i, column in enumerate(sheet.columns) if not column.data_only]
    return sheet._replace(
        columns=tuple(sheet.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in sheet.rows),
    )


def spans(columns: Sequence[Column], row: Sequence[Cell]) -> list[tuple[Cell, int]]:
    """The cells of a row and how many columns each takes."""
    found: list[tuple[Cell, int]] = []
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
        found.append((cell, width))
    return found


def headings(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """The first lines of the headings and how many columns each stands over."""
    found: list[tuple[str, int]] = []
    for column in columns:
        if found and column.group and found[-1][0] == column.group:
            found[-1] = (column.group, found[-1][1] + 1)
        else:
            found.append((column.group, 1))
    return found
