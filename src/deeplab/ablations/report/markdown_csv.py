"""Tables as GitHub's Markdown and as CSV."""

import csv
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deeplab.ablations.report.sheet import Cell, Link, Sheet, for_readers

READING = "How to read the tables"


class Head:
    """What stands on top of a report."""

    def __init__(self, title: str, note: str | None, lines: Sequence[str]) -> None:
        self.title = title
        self.note = note
        """What a reader of its numbers is to know before all."""
        self.lines = tuple(lines)


def markdown(sheets: Sequence[Sheet], head: Head, folder: Path) -> str:
    """All tables; links lead from ``folder``."""
    parts = [f"# {_escaped(head.title)}"]
    if head.note:
        parts.append(f"> **{_escaped(head.note)}**")
    parts += [_escaped(line) for line in head.lines]
    if legend := legends(sheets):
        parts += [f"## {READING}", "\n".join(f"- {_escaped(line)}" for line in legend)]
    for sheet in map(for_readers, sheets):
        parts += _markdown(sheet, folder)
    return "\n\n".join(parts) + "\n"


def legends(sheets: Sequence[Sheet]) -> list[str]:
    """How the columns and marks of all tables are to be read."""
    return list(dict.fromkeys(line for sheet in sheets for line in sheet.legend))


def _markdown(sheet: Sheet, folder: Path) -> list[str]:
    rows = [[_text(cell, folder) for cell in row] for row in sheet.rows]
    aligned = ["--:" if column.number else "---" for column in sheet.columns]
    lines = [_piped([_escaped(c.full) for c in sheet.columns]), _piped(aligned), *map(_piped, rows)]
    files = f"[CSV]({quote(sheet.name)}.csv), [LaTeX]({quote(sheet.name)}.tex)"
    parts = [f"## {_escaped(sheet.title)}", f"{_escaped(sheet.setting)}. {files}", "\n".join(lines)]
    if sheet.notes:
        parts.append("\n".join(f"- {_escaped(note)}" for note in sheet.notes))
    return parts + [f"![{_escaped(p.says)}]({quote(p.name)})" for p in sheet.pictures]


def _text(cell: Cell, folder: Path) -> str:
    if cell.links:
        return " ".join(f"[{_escaped(k.text)}]({address(k, folder)})" for k in cell.links)
    text = _escaped(cell.text)
    if not text:
        return ""
    return f"**{text}**" if cell.strong else f"*{text}*" if cell.faint else text


def _escaped(text: str) -> str:
    """For GitHub, which would read some signs as its own."""
    return re.sub(r"([\\`*_\[\]|<>~#$])", r"\\\1", " ".join(text.split()))


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def comma_separated(sheet: Sheet, folder: Path) -> str:
    """A table with its numbers as they are, in percent where the heading says so; a column for each
    part of a cell."""
    header: list[str] = []
    values: list[list[Any]] = [[] for _ in sheet.rows]
    for i, column in enumerate(sheet.columns):
        each = [_values(row[i], folder) for row in sheet.rows]
        suffixes = dict.fromkeys(suffix for found in each for suffix in found)
        for suffix in suffixes or ([""] if column.of_row else []):
            header.append((column.name or column.title) + suffix)
            for line, found in zip(values, each, strict=True):
                line.append(found.get(suffix))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *values])
    return text.getvalue()


def _values(cell: Cell, folder: Path) -> dict[str, Any]:
    if cell.links:
        return {"": ";".join(relative(link.path, folder) for link in cell.links)}
    return dict(cell.values) if cell.filled else {}


def address(link: Link, folder: Path) -> str:
    """Of a file, as a page in ``folder`` has it; a folder ends with a slash."""
    return quote(relative(link.path, folder)) + ("/" if link.path.is_dir() else "")


def relative(path: Path, folder: Path) -> str:
    """A path, seen from a folder."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
