"""All tables as one HTML page that opens from disk, without a script."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import quote

from deeplab.ablations.report.markdown_csv import READING, Head, address, legends
from deeplab.ablations.report.sheet import (
    Cell,
    Column,
    Picture,
    Sheet,
    for_readers,
    headings,
    spans,
)


def page(sheets: Sequence[Sheet], head: Head, folder: Path) -> str:
    """The page; links lead from ``folder``."""
    return Template(_text("report.html")).substitute(
        title=escape(head.title),
        style=_text("report.css"),
        note=f'<p class="warning">{escape(head.note)}</p>' if head.note else "",
        lines="\n".join(f"<p>{escape(line)}</p>" for line in head.lines),
        legend=_legend(legends(sheets)),
        navigation="\n".join(_entry(sheet) for sheet in sheets),
        sections="\n".join(_section(for_readers(sheet), folder) for sheet in sheets),
    )


def _legend(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<section id="reading"><h2>{READING}</h2><ul class="notes">\n{items}</ul></section>'


def _text(name: str) -> str:
    return files("deeplab.ablations.report").joinpath(name).read_text(encoding="utf-8")


def _entry(sheet: Sheet) -> str:
    link = f'<a href="#{quote(sheet.name)}">{escape(sheet.title)}</a>'
    return f'<li>{link} <span class="faint">{escape(sheet.summary)}</span></li>'


def _section(sheet: Sheet, folder: Path) -> str:
    name = escape(quote(sheet.name))
    beside = f'<a href="{name}.csv">CSV</a> <a href="{name}.tex">LaTeX</a>'
    notes = "".join(f"<li>{escape(note)}</li>" for note in sheet.notes)
    pictures = "".join(_picture(picture, sheet.title) for picture in sheet.pictures)
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{escape(sheet.title)}</h2>\n'
        f'<p class="setting">{escape(sheet.setting)} <span class="beside">{beside}</span></p>\n'
        f'<div class="scroll">{_table(sheet, folder)}</div>\n'
        f'<ul class="notes">{notes}</ul>\n'
        f'<div class="pictures">{pictures}</div>\n</section>'
    )


def _table(sheet: Sheet, folder: Path) -> str:
    rows = "\n".join(_row(sheet.columns, row, folder) for row in sheet.rows)
    return f"<table>\n{_heading(sheet.columns)}\n<tbody>\n{rows}\n</tbody></table>"


def _heading(columns: Sequence[Column]) -> str:
    """One or two lines; a heading without a group stands in both."""
    groups = headings(columns)
    first, place = [], 0
    for group, width in groups:
        column = columns[place]
        place += width
        if group:
            first.append(
                f'<th scope="colgroup" colspan="{width}" class="group">{_title(group)}</th>'
            )
        else:
            first.append(f'<th scope="col" rowspan="2"{_kind(column)}>{_title(column.title)}</th>')
    second = [
        f'<th scope="col"{_kind(column)}>{_title(column.title)}</th>'
        for column in columns
        if column.group
    ]
    return f"<thead><tr>{''.join(first)}</tr>\n<tr>{''.join(second)}</tr></thead>"


def _title(text: str) -> str:
    """A heading, whose last word, often a unit, does not stand alone in a line."""
    return "&nbsp;".join(escape(text).rsplit(" ", 1))


def _kind(column: Column, *more: str) -> str:
    kinds = [*(["number"] if column.number else []), *(["of-row"] if column.of_row else []), *more]
    return f' class="{" ".join(kinds)}"' if kinds else ""


def _row(columns: Sequence[Column], row: Sequence[Cell], folder: Path) -> str:
    cells, place = [], 0
    for cell, width in spans(columns, row):
        cells.append(_cell(columns[place], cell, width, folder))
        place += width
    return f"<tr>{''.join(cells)}</tr>"


def _cell(column: Column, cell: Cell, width: int, folder: Path) -> str:
    kinds = (("faint", cell.faint), ("wide", cell.wide and cell.text), ("links", cell.links))
    marks = [kind for kind, on in kinds if on]
    text = escape(cell.text)
    if cell.links:
        text = " ".join(
            f'<a href="{escape(address(link, folder))}">{escape(link.text)}</a>'
            for link in cell.links
        )
    if cell.strong:
        text = f"<strong>{text}</strong>"
    if not text:
        marks.append("empty")
    inner = f"<span>{text}</span>" if text else ""
    span = f' colspan="{width}"' if width > 1 else ""
    return f'<td{_kind(column, *marks)}{span} data-title="{escape(column.full)}">{inner}</td>'


def _picture(picture: Picture, title: str) -> str:
    width, height = picture.size
    says = escape(picture.says)
    alt = escape(f"{title}: {picture.says}")
    return (
        f'<figure><img src="{quote(picture.name)}" alt="{alt}" width="{width}" height="{height}">'
        f"<figcaption>{says}</figcaption></figure>"
    )
