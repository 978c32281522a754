"""LaTeX tables with booktabs.

The Styler of pandas 3 leaves ticks, Greek letters and minus signs as they are, which pdfLaTeX does
not know, and a bracket at the start of a row, which LaTeX reads as an argument of the row before.
"""

import re
import unicodedata
from collections.abc import Sequence

from deeplab.ablations.report.sheet import Sheet, cell_spans, heading_groups
from deeplab.ablations.report.table_notes import SAME_RUN
from deeplab.utils.text import MINUS, printable
from deeplab.utils.text_table import Cell, Column

OMITTED = ("run", "files", "training: time", "training: memory, MB")
"""Columns that make sense only next to the report."""

FIT_TO_LINE = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}"
"""Start of a command that shrinks its content to the text width; ``{!}`` and the content follow."""

GREEK = "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ"
"""Letters that pdfLaTeX needs as commands; letters of other scripts need XeLaTeX."""


def _command(letter: str) -> str:
    name = unicodedata.name(letter).rpartition(" ")[2].replace("LAMDA", "LAMBDA")
    return f"$\\{name.capitalize() if letter.isupper() else name.lower()}$"


ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after the end of a row, LaTeX would read a bracket as an argument
    "]": "{]}",
    '"': r"\textquotedbl{}",
    "✓": r"$\checkmark$",
    "±": r"$\pm$",
    MINUS: "$-$",
    "≠": r"$\neq$",
    "⁹": r"$^9$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{letter: _command(letter) for letter in GREEK},
}


def format_latex(sheet: Sheet) -> str:
    """Return a ``table`` environment; its first line names the packages that it needs."""
    table = sheet.shown.select(lambda _, c: c.identifies_row or c.full_title not in OMITTED)
    layout = "".join("r" if column.number else "l" for column in table.columns)
    caption = f"{escape_latex(_unnumbered(sheet.title))} ({escape_latex(sheet.setting)})."
    notes = rf"  \par\smallskip\begin{{minipage}}{{\linewidth}}\raggedright {_notes(sheet)}"
    return "\n".join(
        [
            r"% \usepackage[T1]{fontenc} \usepackage{amssymb,booktabs,graphicx}",
            r"\begin{table}",
            r"  \centering",
            r"  \footnotesize",
            r"  \setlength{\tabcolsep}{3pt}",
            rf"  \caption{{{caption}}}",
            rf"  \label{{tab:{_label(sheet.name)}}}",
            rf"  {FIT_TO_LINE}{{!}}{{\begin{{tabular}}{{{layout}}}",
            r"    \toprule",
            *(f"    {line}" for line in _heading(table.columns)),
            r"    \midrule",
            *(f"    {_row(table.columns, row)}" for row in table.rows),
            r"    \bottomrule",
            r"  \end{tabular}}",
            rf"{notes}\end{{minipage}}",
            r"\end{table}",
            "",
        ]
    )


def _heading(columns: Sequence[Column]) -> list[str]:
    """Return two lines with a rule under each group, or one if no group has several columns."""
    groups = heading_groups(columns)
    if all(len(members) == 1 for _, members in groups):
        return [_line([escape_latex(column.full_title) for column in columns])]
    cells, rules, position = [], [], 1
    for group, members in groups:
        width = len(members)
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(group)}}}" if group else "")
        if group:
            rules.append(rf"\cmidrule(lr){{{position}-{position + width - 1}}}")
        position += width
    return [
        _line(cells),
        " ".join(rules),
        _line([escape_latex(column.title) for column in columns]),
    ]


def _row(columns: Sequence[Column], row: Sequence[Cell]) -> str:
    return _line([_cell(cell, width) for _, cell, width in cell_spans(columns, row)])


def _cell(cell: Cell, width: int) -> str:
    text = escape_latex(cell.text)
    if cell.wide and text:
        fraction = min(0.5, max(0.24, 0.14 * width))
        box = rf"\parbox[t]{{{fraction:.2f}\linewidth}}{{\raggedright {text}}}"
        return rf"\multicolumn{{{width}}}{{l}}{{{box}}}"
    if width > 1:
        return rf"\multicolumn{{{width}}}{{c}}{{}}"
    return rf"\textbf{{{text}}}" if cell.strong else text


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _notes(sheet: Sheet) -> str:
    texts = [text for text in (*sheet.notes, *sheet.legend) if text != SAME_RUN]
    return r" \par ".join(map(escape_latex, texts))


def _unnumbered(title: str) -> str:
    """Return the title without its number, since LaTeX numbers tables itself."""
    return re.sub(r"^(Table|Figure) \d+: ", "", title)


def _label(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)


def escape_latex(text: str) -> str:
    """Return LaTeX code that prints a text literally."""
    return "".join(ESCAPES.get(sign, sign) for sign in printable(" ".join(text.split())))
