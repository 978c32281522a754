"""Texts of others, made safe to print."""

import csv
import io

import pytest

from deeplab.utils.templates import render_template
from deeplab.utils.text import PrintableStream, fold, format_size, plot_text, pluralize, printable
from deeplab.utils.text_table import Cell, Column, TextTable
from deeplab.utils.visualization import legend

HOSTILE = "a\x1b[31mred\nline\u202e<b>$x$|`*&\x07\u2028z\udc80"
VISIBLE = r"a\x1b[31mred\nline\u202e<b>$x$|`*&\x07\u2028z\udc80"


def test_control_characters_become_visible():
    assert printable(HOSTILE) == VISIBLE
    assert printable("Straße 道 🚗 e\u0301 \u200d") == "Straße 道 🚗 e\u0301 \u200d"
    assert printable("a\nb\tc", keep="\n") == "a\nb\\tc"
    assert plot_text("$x$") == r"\$x\$"


def test_numbers_of_things():
    counts = [pluralize(count, noun) for noun in ("image", "class") for count in (0, 1, 2000)]
    assert counts == [
        "0 images",
        "1 image",
        "2,000 images",
        "0 classes",
        "1 class",
        "2,000 classes",
    ]


def test_long_lines_of_a_help_go_on_below_their_descriptions():
    text = "Head.\n\n  train data=voc  the network of the paper\n  evaluate run=runs/A-longNAME x"
    assert fold(text, 100) == text
    assert fold(text, 30).split("\n") == [
        "Head.",
        "",
        "  train data=voc  the network",
        "                  of the paper",
        "  evaluate run=runs/A-longNAME",
        "  x",
    ]


def test_sizes_stand_apart_from_their_units():
    assert [format_size(count) for count in (12, 95_700, 1e6)] == ["12.0 B", "95.7 kB", "1.00 MB"]


def test_tables_print_one_line_for_each_row():
    table = TextTable((Column(HOSTILE), Column("b")), ((Cell(HOSTILE), Cell("1")),))
    assert table.as_text(width=300).count("\n") == 1
    for text in (table.as_text(width=300), table.as_markdown(), table.as_csv()):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "\\<b\\>" in table.as_markdown()
    assert "&" not in table.as_markdown().replace(r"\&", "")


@pytest.mark.parametrize(
    ("value", "written"),
    [("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("@x", "'@x"), ("-1.5e-3", "-1.5e-3"), ("-x", "'-x")],
)
def test_no_cell_of_a_csv_is_a_formula(value, written):
    table = TextTable((Column("a"),), ((Cell(value),), (Cell("", data={"": -2.0}),)))
    rows = list(csv.reader(io.StringIO(table.as_csv())))
    assert rows == [["a"], [written], ["-2.0"]]


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_pages_escape_names(name):
    page = render_template(
        "deeplab.ablations.report",
        name,
        title=HOSTILE.replace("\udc80", ""),
        header={"note": None, "lines": ["x\u202ey"]},
        legend=[],
        sheets=[],
        cell_spans=None,
        heading_groups=None,
    )
    assert "<b>" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_names_with_line_breaks_are_drawn_in_one_line():
    one, two = (legend([(name, (1, 2, 3))], 600).height for name in ("a b", "a\nb"))
    assert one == two


def test_scripts_print_control_characters_visibly():
    stream = io.StringIO()
    printed = PrintableStream(stream)
    print("a\x1b[2Jb\u202e", "c", file=printed)
    printed.write("\x1b[A\x1b[A")  # tqdm's move to the bar above
    assert stream.getvalue() == "a\\x1b[2Jb\\u202e c\n\x1b[A\x1b[A"
    assert not printed.isatty()
