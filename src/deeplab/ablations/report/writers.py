"""Tables as Markdown, CSV, LaTeX and HTML."""

import csv
import html
import io
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from deeplab.ablations.report.sheet import Entry, Sheet

STYLE = """
:root { color-scheme: light dark; --line: #8884; --faint: #8889; --note: #fa02; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; max-width: 90rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .3rem; }
p { margin: .3rem 0 .8rem; max-width: 60rem; }
.note { background: var(--note); border-left: 4px solid #fa0; padding: .6rem 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: left; }
th { border-bottom-width: 2px; vertical-align: bottom; }
td { white-space: nowrap; } td.long { white-space: normal; min-width: 16rem; }
.faint { color: var(--faint); } small { color: inherit; opacity: .75; }
img { max-width: min(100%, 46rem); background: white; margin: 1rem 1rem 0 0; }
@media print { body { margin: 0; } .wide { overflow: visible; } }
"""

LONG = 40
"""Characters from which on a cell may have several lines."""


def markdown(sheets: Sequence[Sheet], title: str, head: Sequence[str], folder: Path) -> str:
    """All tables in GitHub's Markdown."""
    parts = [f"# {title}", *(f"**{head[0]}**" if i == 0 else line for i, line in enumerate(head))]
    for sheet in sheets:
        rows = [[_markdown(entry, folder) for entry in row] for row in sheet.rows]
        lines = [_piped(sheet.header), _piped(["---"] * len(sheet.header)), *map(_piped, rows)]
        parts += [f"## {sheet.title}", f"{sheet.setting}.", "\n".join(lines), *sheet.notes]
        parts += [f"![{picture.says}]({picture.name})" for picture in sheet.pictures]
    return "\n\n".join(parts) + "\n"


def _markdown(entry: Entry, folder: Path) -> str:
    text = entry.text.replace("|", "\\|").replace("[", "\\[")
    if entry.link:
        return f"[{text}]({address(entry.link, folder)})"
    return f"*{text}*" if entry.faint and text else text


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def comma_separated(sheet: Sheet) -> str:
    """A table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(sheet.header)
    writer.writerows([entry.text for entry in row] for row in sheet.rows)
    return text.getvalue()


def latex(sheet: Sheet) -> str:
    """A table for LaTeX with booktabs; links are left out."""
    kept = [i for i in range(len(sheet.header)) if not any(row[i].link for row in sheet.rows)]
    lines = [
        " & ".join(_latex(cells[i]) for i in kept) + r" \\"
        for cells in (sheet.header, *([entry.text for entry in row] for row in sheet.rows))
    ]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_latex(sheet.title)} ({_latex(sheet.setting)}).}}",
            rf"  \begin{{tabular}}{{{'l' * len(kept)}}}",
            r"    \toprule",
            f"    {lines[0]}",
            r"    \midrule",
            *(f"    {line}" for line in lines[1:]),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex(text: str) -> str:
    escaped = "".join(
        {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}.get(c)
        or (f"\\{c}" if c in "&%$#_{}" else c)
        for c in text
    )
    return escaped.replace("✓", r"$\checkmark$").replace("±", r"$\pm$")


def page(sheets: Sequence[Sheet], title: str, head: Sequence[str], folder: Path) -> str:
    """All tables as one HTML page that opens from disk."""
    kinds = ['<p class="note">', *(["<p>"] * (len(head) - 1))]
    intro = [f"{kind}{html.escape(line)}</p>" for kind, line in zip(kinds, head, strict=True)]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{html.escape(title)}</h1>",
            *intro,
            *(_section(sheet, folder) for sheet in sheets),
            "</body></html>\n",
        ]
    )


def _section(sheet: Sheet, folder: Path) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in sheet.header)
    body = "\n".join(
        f"<tr>{''.join(_cell(entry, folder) for entry in row)}</tr>" for row in sheet.rows
    )
    pictures = "".join(
        f'<img src="{quote(picture.name)}" alt="{html.escape(picture.says)}">'
        for picture in sheet.pictures
    )
    notes = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in sheet.notes)
    files = f'<a href="{sheet.name}.csv">CSV</a>, <a href="{sheet.name}.tex">LaTeX</a>'
    return (
        f'<section id="{html.escape(sheet.name)}"><h2>{html.escape(sheet.title)}</h2>\n'
        f"<p>{html.escape(sheet.setting)}. <small>{files}</small></p>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>'
        f"</table></div>\n{notes}\n{pictures}</section>"
    )


def _cell(entry: Entry, folder: Path) -> str:
    text = html.escape(entry.text)
    if entry.link:
        text = f'<a href="{address(entry.link, folder)}">{text}</a>'
    kinds = [k for k, on in (("faint", entry.faint), ("long", len(entry.text) > LONG)) if on]
    return f'<td class="{" ".join(kinds)}">{text}</td>' if kinds else f"<td>{text}</td>"


def address(path: Path, folder: Path) -> str:
    """Of a path, seen from the report's folder."""
    return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
