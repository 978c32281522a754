"""Tables as GitHub's Markdown and as CSV."""

import csv
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deeplab.ablations.report.table_layout import Cell, Link, Sheet, drop_data_columns

LEGEND_TITLE = "How to read the tables"


class Header:
    """Text at the top of a report."""

    def __init__(self, title: str, note: str | None, lines: Sequence[str]) -> None:
        self.title = title
        self.note = note
        """Warning to readers of the numbers."""
        self.lines = tuple(lines)


def format_markdown(sheets: Sequence[Sheet], header: Header, folder: Path) -> str:
    """Return a document with all tables, with links relative to ``folder``."""
    parts = [f"# {_escape(header.title)}"]
    if header.note:
        parts.append(f"> **{_escape(header.note)}**")
    parts += [_escape(line) for line in header.lines]
    if legend := merge_legends(sheets):
        parts += [f"## {LEGEND_TITLE}", "\n".join(f"- {_escape(line)}" for line in legend)]
    for sheet in map(drop_data_columns, sheets):
        parts += _section(sheet, folder)
    return "\n\n".join(parts) + "\n"


def merge_legends(sheets: Sequence[Sheet]) -> list[str]:
    """Return the explanations of columns and marks of all tables, each once."""
    return list(dict.fromkeys(line for sheet in sheets for line in sheet.legend))


def _section(sheet: Sheet, folder: Path) -> list[str]:
    rows = [[_text(cell, folder) for cell in row] for row in sheet.rows]
    alignment = ["--:" if column.number else "---" for column in sheet.columns]
    titles = [_escape(c.full_title) for c in sheet.columns]
    lines = [_piped(titles), _piped(alignment), *map(_piped, rows)]
    files = f"[CSV]({quote(sheet.name)}.csv), [LaTeX]({quote(sheet.name)}.tex)"
    parts = [f"## {_escape(sheet.title)}", f"{_escape(sheet.setting)}. {files}", "\n".join(lines)]
    if sheet.notes:
        parts.append("\n".join(f"- {_escape(note)}" for note in sheet.notes))
    return parts + [f"![{_escape(f.caption)}]({quote(f.name)})" for f in sheet.figures]


def _text(cell: Cell, folder: Path) -> str:
    if cell.links:
        return " ".join(f"[{_escape(k.text)}]({link_address(k, folder)})" for k in cell.links)
    text = _escape(cell.text)
    if not text:
        return ""
    return f"**{text}**" if cell.strong else f"*{text}*" if cell.faint else text


def _escape(text: str) -> str:
    """Escape the characters that Markdown would interpret."""
    return re.sub(r"([\\`*_\[\]|<>~#$])", r"\\\1", " ".join(text.split()))


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def format_csv(sheet: Sheet, folder: Path) -> str:
    """Return a table as CSV with unrounded numbers, one column for each value of a cell.

    Numbers are in percent where the heading says so; paths are relative to ``folder``.
    """
    header: list[str] = []
    lines: list[list[Any]] = [[] for _ in sheet.rows]
    for i, column in enumerate(sheet.columns):
        cells = [_values(row[i], folder) for row in sheet.rows]
        suffixes = dict.fromkeys(suffix for values in cells for suffix in values)
        for suffix in suffixes or ([""] if column.identifies_row else []):
            header.append((column.name or column.title) + suffix)
            for line, values in zip(lines, cells, strict=True):
                line.append(values.get(suffix))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *lines])
    return text.getvalue()


def _values(cell: Cell, folder: Path) -> dict[str, Any]:
    if cell.links:
        return {"": ";".join(relative_path(link.path, folder) for link in cell.links)}
    return dict(cell.values) if cell.filled else {}


def link_address(link: Link, folder: Path) -> str:
    """Return the address of a file for a page in ``folder``; that of a folder ends with a slash."""
    return quote(relative_path(link.path, folder)) + ("/" if link.path.is_dir() else "")


def relative_path(path: Path, folder: Path) -> str:
    """Return a path relative to a folder, with forward slashes."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
