"""Tables of formatted cells, written for a terminal, as Markdown and as CSV.

A cell holds the text that is shown, its emphasis, and the unrounded numbers for CSV files. HTML and
LaTeX are written by ``deeplab.ablations.report`` from the same tables.

The libraries that were tried need as much code around them: pandas (84 MB, 0.36 s to import) has
cells without links, spans and several values; tabulate 0.10 and rich 15 (13 MB) break the names of
runs, which are copied into the next command.
"""

import csv
import io
import os
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from deeplab.utils.text import printable

GAP = "  "
"""Space between two columns in a terminal."""

MIN_FOLDED_WIDTH = 24
"""Width that texts in the last column keep when they are broken into lines."""


class Link(NamedTuple):
    """Link to a file or a folder."""

    text: str
    path: str
    """Path relative to the file with the table; that of a folder ends with a slash."""

    @classmethod
    def relative(cls, text: str, path: Path, folder: Path) -> Self:
        """Return a link from a file in ``folder``."""
        relative = Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
        return cls(text, relative + "/" * path.is_dir())

    @property
    def address(self) -> str:
        """Path as a URL."""
        return quote(self.path)


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
    """Heading and format of a column; adjacent columns may share the first line of the heading."""

    title: str
    group: str = ""
    number: bool = False
    """Right alignment, for numbers."""
    format: Callable[[Any], str] = str
    """Function that returns the text of a value."""
    identifies_row: bool = False
    """Part of the row's identity (its number or settings); such columns are always kept."""
    data_only: bool = False
    """Column of the CSV file only."""
    name: str = ""
    """Heading in the CSV file; empty: the title."""

    @property
    def full_title(self) -> str:
        """Heading in one line."""
        return ": ".join(part for part in (self.group, self.title) if part)

    def cell(self, value: Any) -> Cell:
        """Return the cell of a value, which is empty for None."""
        return Cell() if value is None else Cell(self.format(value), data={"": value})


def number_column(
    title: str, spec: str, *, unit: float = 1, group: str = "", name: str = ""
) -> Column:
    """Return a column of numbers, which are shown as multiples of a unit.

    Args:
        title: heading.
        spec: how numbers are formatted, such as ``.2f``.
        unit: the number that is shown as 1.
        group: first line of the heading.
        name: heading in the CSV file, whose numbers are not divided by the unit.
    """
    return Column(title, group, True, lambda value: format(value / unit, spec), name=name)


@dataclass(frozen=True)
class TextTable:
    """Columns and rows of cells."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def from_values(cls, columns: Sequence[Column], rows: Iterable[Iterable[Any]]) -> Self:
        """Return a table of values in the formats of their columns."""
        return cls(
            tuple(columns),
            tuple(tuple(c.cell(v) for c, v in zip(columns, row, strict=True)) for row in rows),
        )

    def select(self, keep: Callable[[int, Column], bool]) -> Self:
        """Return the table with some of its columns, selected by index and heading."""
        kept = [i for i, column in enumerate(self.columns) if keep(i, column)]
        return type(self)(
            tuple(self.columns[i] for i in kept),
            tuple(tuple(row[i] for i in kept) for row in self.rows),
        )

    def without_empty_columns(self) -> Self:
        """Return the table without the columns that are empty in all rows."""
        return self.select(lambda i, c: c.identifies_row or any(r[i].filled for r in self.rows))

    def as_text(self, width: int | None = None) -> str:
        """Return the table for a terminal.

        If it is too wide, texts in the last column and then the headings are broken into lines; if
        it still is, the first cell of each row stands above the others, without a heading.

        Args:
            width: number of characters of a line; None: those of the terminal, or 80.
        """
        width = width or shutil.get_terminal_size().columns
        titles = [printable(column.full_title) for column in self.columns]
        headings = [titles]
        rows = [
            [printable(c.text) or "-" * k.number for k, c in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]
        excess = _total_width([titles, *rows]) - width
        if excess > 0 and not self.columns[-1].number:
            rows = _fold_last_column(rows, excess)
        if _total_width([*headings, *rows]) > width:
            headings = _fold_headings(titles, _widths(rows))
        if _total_width([*headings, *rows]) > width:
            headings = [["", *others] for _, *others in headings]
            rows = [
                line for label, *others in rows for line in ([label], ["", *others]) if any(line)
            ]
        lines = [*headings, *rows]
        widths = _widths(lines)
        return "\n".join(self._line(line, widths) for line in lines)

    def _line(self, texts: Sequence[str], widths: Sequence[int]) -> str:
        """Return the texts, as many as there are, aligned in columns."""
        cells = zip(self.columns, texts, widths, strict=False)
        aligned = (text.rjust(w) if column.number else text.ljust(w) for column, text, w in cells)
        return GAP.join(aligned).rstrip()

    def as_markdown(self) -> str:
        """Return the table in GitHub's Markdown."""
        titles = [escape_markdown(column.full_title) for column in self.columns]
        alignments = ["--:" if column.number else "---" for column in self.columns]
        rows = [[_markdown_cell(cell) for cell in row] for row in self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, alignments, *rows))

    def as_csv(self) -> str:
        """Return the table as CSV with unrounded numbers, one column for each value of a cell.

        A column that has nothing but texts without values is left out.
        """
        header: list[str] = []
        lines: list[list[Any]] = [[] for _ in self.rows]
        for i, column in enumerate(self.columns):
            cells = [_csv_values(row[i]) for row in self.rows]
            suffixes = dict.fromkeys(suffix for values in cells for suffix in values)
            unfilled = not any(row[i].filled for row in self.rows)
            for suffix in suffixes or [""] * unfilled:
                header.append(_csv_value((column.name or column.title) + suffix))
                for line, values in zip(lines, cells, strict=True):
                    line.append(values.get(suffix))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([header, *lines])
        return text.getvalue()


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    """Return the widths of the columns; a line that has its first cell only may be wider."""
    number = max(map(len, lines))
    whole = [line for line in lines if len(line) == number]
    return [max(map(len, cells)) for cells in zip(*whole, strict=True)]


def _total_width(lines: Sequence[Sequence[str]]) -> int:
    widths = _widths(lines)
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _fold_last_column(rows: Sequence[Sequence[str]], excess: int) -> list[list[str]]:
    """Return the rows with the last column narrower by ``excess``, if it can be."""
    room = max(MIN_FOLDED_WIDTH, _widths(rows)[-1] - excess)
    wrapper = textwrap.TextWrapper(room, break_long_words=False, break_on_hyphens=False)
    return [
        [*others, line] if i == 0 else ["" for _ in others] + [line]
        for *others, text in rows
        for i, line in enumerate(wrapper.wrap(text) or [""])
    ]


def _fold_headings(titles: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """Return lines of headings as wide as their longest word or the cells below."""
    folded = []
    for title, width in zip(titles, widths, strict=True):
        words = re.split(r"(?<=-)| ", title)
        folded.append(textwrap.wrap(title, max(width, *map(len, words), 1)) or [""])
    height = max(map(len, folded))
    return [
        list(line) for line in zip(*([""] * (height - len(t)) + t for t in folded), strict=True)
    ]


def escape_markdown(text: str) -> str:
    """Escape what Markdown would interpret, which an underscore inside a word is not."""
    inside_word = r"(?<=[^\W_])_(?=[^\W_])"
    line = printable(" ".join(text.split()))
    return re.sub(rf"(?!{inside_word})([\\`*_\[\]|<>~#$&])", r"\\\1", line)


def _markdown_cell(cell: Cell) -> str:
    if cell.links:
        return " ".join(f"[{escape_markdown(k.text)}]({k.address})" for k in cell.links)
    text = escape_markdown(cell.text)
    mark = "**" if cell.strong else "*" if cell.faint else ""
    return f"{mark}{text}{mark}" if text else ""


def _csv_values(cell: Cell) -> Mapping[str, Any]:
    if cell.links:
        return {"": ";".join(link.path.rstrip("/") for link in cell.links)}
    return {k: _csv_value(v) for k, v in cell.values.items()} if cell.filled else {}


def _csv_value(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula, which a text in a cell would be."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    is_formula = text.startswith(("=", "+", "-", "@")) and not re.fullmatch(r"[-+][\d.e+-]+", text)
    return f"'{text}" if is_formula else text
