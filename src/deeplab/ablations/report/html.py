"""HTML page of all tables, which opens from disk and has no script."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import quote

from deeplab.ablations.report.markdown_csv import (
    LEGEND_TITLE,
    Header,
    link_address,
    merge_legends,
)
from deeplab.ablations.report.table_layout import (
    Cell,
    Column,
    FigureFile,
    Sheet,
    cell_spans,
    drop_data_columns,
    heading_groups,
)


def format_html(sheets: Sequence[Sheet], header: Header, folder: Path) -> str:
    """Return the page, with links relative to ``folder``."""
    return Template(_resource("report.html")).substitute(
        title=escape(header.title),
        style=_resource("report.css"),
        note=f'<p class="warning">{escape(header.note)}</p>' if header.note else "",
        lines="\n".join(f"<p>{escape(line)}</p>" for line in header.lines),
        legend=_legend(merge_legends(sheets)),
        navigation="\n".join(_navigation_entry(sheet) for sheet in sheets),
        sections="\n".join(_section(drop_data_columns(sheet), folder) for sheet in sheets),
    )


def _legend(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return (
        f'<section id="reading"><h2>{LEGEND_TITLE}</h2><ul class="notes">\n{items}</ul></section>'
    )


def _resource(name: str) -> str:
    return files("deeplab.ablations.report").joinpath(name).read_text(encoding="utf-8")


def _navigation_entry(sheet: Sheet) -> str:
    link = f'<a href="#{quote(sheet.name)}">{escape(sheet.title)}</a>'
    return f'<li>{link} <span class="faint">{escape(sheet.summary)}</span></li>'


def _section(sheet: Sheet, folder: Path) -> str:
    name = escape(quote(sheet.name))
    downloads = f'<a href="{name}.csv">CSV</a> <a href="{name}.tex">LaTeX</a>'
    setting = f'{escape(sheet.setting)} <span class="downloads">{downloads}</span>'
    notes = "".join(f"<li>{escape(note)}</li>" for note in sheet.notes)
    figures = "".join(_figure(figure, sheet.title) for figure in sheet.figures)
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{escape(sheet.title)}</h2>\n'
        f'<p class="setting">{setting}</p>\n'
        f'<div class="scroll">{_table(sheet, folder)}</div>\n'
        f'<ul class="notes">{notes}</ul>\n'
        f'<div class="figures">{figures}</div>\n</section>'
    )


def _table(sheet: Sheet, folder: Path) -> str:
    rows = "\n".join(_row(sheet.columns, row, folder) for row in sheet.rows)
    return f"<table>\n{_heading(sheet.columns)}\n<tbody>\n{rows}\n</tbody></table>"


def _heading(columns: Sequence[Column]) -> str:
    """Return two heading lines; a heading without a group takes both."""
    first, position = [], 0
    for group, width in heading_groups(columns):
        column = columns[position]
        position += width
        if group:
            first.append(
                f'<th scope="colgroup" colspan="{width}" class="group">{_title(group)}</th>'
            )
        else:
            first.append(
                f'<th scope="col" rowspan="2"{_class_attribute(column)}>{_title(column.title)}</th>'
            )
    second = [
        f'<th scope="col"{_class_attribute(column)}>{_title(column.title)}</th>'
        for column in columns
        if column.group
    ]
    return f"<thead><tr>{''.join(first)}</tr>\n<tr>{''.join(second)}</tr></thead>"


def _title(text: str) -> str:
    """Return a heading whose last word (often a unit) stays on the line of the word before it."""
    return "&nbsp;".join(escape(text).rsplit(" ", 1))


def _class_attribute(column: Column, *more: str) -> str:
    classes = [
        *(["number"] if column.number else []),
        *(["identifies-row"] if column.identifies_row else []),
        *more,
    ]
    return f' class="{" ".join(classes)}"' if classes else ""


def _row(columns: Sequence[Column], row: Sequence[Cell], folder: Path) -> str:
    cells, position = [], 0
    for cell, width in cell_spans(columns, row):
        cells.append(_cell(columns[position], cell, width, folder))
        position += width
    return f"<tr>{''.join(cells)}</tr>"


def _cell(column: Column, cell: Cell, width: int, folder: Path) -> str:
    flags = (("faint", cell.faint), ("wide", cell.wide and cell.text), ("links", cell.links))
    classes = [name for name, active in flags if active]
    text = escape(cell.text)
    if cell.links:
        text = " ".join(
            f'<a href="{escape(link_address(link, folder))}">{escape(link.text)}</a>'
            for link in cell.links
        )
    if cell.strong:
        text = f"<strong>{text}</strong>"
    if not text:
        classes.append("empty")
    content = f"<span>{text}</span>" if text else ""
    span = f' colspan="{width}"' if width > 1 else ""
    title = escape(column.full_title)
    return f'<td{_class_attribute(column, *classes)}{span} data-title="{title}">{content}</td>'


def _figure(figure: FigureFile, title: str) -> str:
    width, height = figure.size
    caption = escape(figure.caption)
    alt = escape(f"{title}: {figure.caption}")
    return (
        f'<figure><img src="{quote(figure.name)}" alt="{alt}" width="{width}" height="{height}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
