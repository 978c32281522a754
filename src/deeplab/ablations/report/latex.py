"""A table as LaTeX with booktabs."""

import re
import unicodedata
from collections.abc import Sequence

from deeplab.ablations.report.notes import SAME_RUN
from deeplab.ablations.report.sheet import Cell, Column, Sheet, headings, spans

LEFT_OUT = ("run", "files", "training: time", "training: memory, MB", "remark")
"""Columns that mean something beside the report only."""

NO_WIDER = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}"
"""Before ``{!}`` and what is to be no wider than the text."""

GREEK = "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ"
"""Letters that pdfLaTeX knows by their names only; those of other scripts want XeLaTeX."""


def _command(letter: str) -> str:
    name = unicodedata.name(letter).rpartition(" ")[2].replace("LAMDA", "LAMBDA")
    return f"$\\{name.capitalize() if letter.isupper() else name.lower()}$"


SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # behind the end of a row it would be an argument of it
    "]": "{]}",
    '"': r"\textquotedbl{}",
    "✓": r"$\checkmark$",
    "±": r"$\pm$",
    "−": "$-$",
    "≠": r"$\neq$",
    "⁹": r"$^9$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{letter: _command(letter) for letter in GREEK},
}


def latex(sheet: Sheet) -> str:
    """A ``table`` environment; what it needs of packages is said in its first line."""
    kept = [i for i, c in enumerate(sheet.columns) if c.of_row or c.full not in LEFT_OUT]
    columns = [sheet.columns[i] for i in kept]
    rows = [_row(columns, [row[i] for i in kept]) for row in sheet.rows]
    layout = "".join("r" if column.number else "l" for column in columns)
    notes = rf"  \par\smallskip\begin{{minipage}}{{\linewidth}}\raggedright {_notes(sheet)}"
    return "\n".join(
        [
            r"% \usepackage[T1]{fontenc} \usepackage{amssymb,booktabs,graphicx}",
            r"\begin{table}",
            r"  \centering",
            r"  \footnotesize",
            r"  \setlength{\tabcolsep}{3pt}",
            rf"  \caption{{{escaped(_unnumbered(sheet.title))} ({escaped(sheet.setting)}).}}",
            rf"  \label{{tab:{_plain(sheet.name)}}}",
            rf"  {NO_WIDER}{{!}}{{\begin{{tabular}}{{{layout}}}",
            r"    \toprule",
            *(f"    {line}" for line in _heading(columns)),
            r"    \midrule",
            *(f"    {line}" for line in rows),
            r"    \bottomrule",
            r"  \end{tabular}}",
            rf"{notes}\end{{minipage}}",
            r"\end{table}",
            "",
        ]
    )


def _heading(columns: Sequence[Column]) -> list[str]:
    """Two lines with a rule under each group, or one where no group has several columns."""
    groups = headings(columns)
    if all(width == 1 for _, width in groups):
        return [_line([escaped(column.full) for column in columns])]
    cells, rules, place = [], [], 1
    for group, width in groups:
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}" if group else "")
        if group:
            rules.append(rf"\cmidrule(lr){{{place}-{place + width - 1}}}")
        place += width
    return [_line(cells), " ".join(rules), _line([escaped(column.title) for column in columns])]


def _row(columns: Sequence[Column], row: Sequence[Cell]) -> str:
    return _line([_cell(cell, width) for cell, width in spans(columns, row)])


def _cell(cell: Cell, width: int) -> str:
    text = escaped(cell.text)
    if cell.wide and text:
        wide = min(0.5, max(0.24, 0.14 * width))
        part = rf"\parbox[t]{{{wide:.2f}\linewidth}}{{\raggedright {text}}}"
        return rf"\multicolumn{{{width}}}{{l}}{{{part}}}"
    if width > 1:
        return rf"\multicolumn{{{width}}}{{c}}{{}}"
    return rf"\textbf{{{text}}}" if cell.strong else text


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _notes(sheet: Sheet) -> str:
    said = [text for text in (*sheet.notes, *sheet.legend) if text != SAME_RUN]
    return r" \par ".join(map(escaped, said))


def _unnumbered(title: str) -> str:
    """LaTeX numbers tables by itself."""
    return re.sub(r"^(Table|Figure) \d+: ", "", title)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)


def escaped(text: str) -> str:
    """A text that LaTeX sets as it is."""
    return "".join(SIGNS.get(sign, sign) for sign in " ".join(text.split()))
