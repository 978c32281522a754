"""Tests of tables of text in a terminal, in Markdown and in CSV."""

import csv
import io

import pytest

from deeplab.utils.text_table import Cell, Column, Link, TextTable, escape_markdown

NAMES = ("run/a", "run/val-weights-os8-ms-flip")
TABLE = TextTable.from_values(
    [
        Column("evaluation"),
        Column("mIoU, %", number=True, format="{:.2f}".format, name="mIoU"),
        Column("multiply-adds, B", number=True, format=lambda n: f"{n / 1e9:,.1f}"),
        Column("pixel accuracy, %", number=True, format="{:.1f}".format),
    ],
    [(NAMES[0], 3.456, 2e9, None), (NAMES[1], 78.2, 1_234e9, 97.25)],
)


def test_wide_terminal():
    assert TABLE.as_text(73).splitlines() == [
        "evaluation                   mIoU, %  multiply-adds, B  pixel accuracy, %",
        "run/a                           3.46               2.0                  -",
        "run/val-weights-os8-ms-flip    78.20           1,234.0               97.2",
    ]


def test_headings_are_broken_before_rows_are():
    assert TABLE.as_text(72).splitlines() == [
        "                                                   pixel",
        "                             mIoU,  multiply-  accuracy,",
        "evaluation                       %    adds, B          %",
        "run/a                         3.46        2.0          -",
        "run/val-weights-os8-ms-flip  78.20    1,234.0       97.2",
    ]


def test_narrow_terminal():
    assert TABLE.as_text(55).splitlines() == [
        "                        pixel",
        "  mIoU,  multiply-  accuracy,",
        "      %    adds, B          %",
        "run/a",
        "   3.46        2.0          -",
        "run/val-weights-os8-ms-flip",
        "  78.20    1,234.0       97.2",
    ]


def test_texts_in_the_last_column_are_broken_first():
    table = TextTable.from_values(
        [Column("row", number=True), Column("image-level"), Column("remark")],
        [(1, "x", "a path/that-is-not-broken is followed by words"), (2, None, "missing")],
    )
    assert table.as_text(50).splitlines() == [
        "row  image-level  remark",
        "  1  x            a path/that-is-not-broken is",
        "                  followed by words",
        "  2               missing",
    ]


@pytest.mark.parametrize("columns", ["55", "80"])
def test_width_of_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    lines = TABLE.as_text().splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert (NAMES[1] in lines) == (columns == "55")


def test_csv_has_the_unrounded_values():
    header, *rows = csv.reader(io.StringIO(TABLE.as_csv()))
    assert header == ["evaluation", "mIoU", "multiply-adds, B", "pixel accuracy, %"]
    assert rows[0] == [NAMES[0], "3.456", "2000000000.0", ""]


def test_empty_columns():
    kept = TextTable.from_values(
        [Column("a"), Column("b"), Column("c", identifies_row=True)], [("x", None, None)]
    ).without_empty_columns()
    assert [column.title for column in kept.columns] == ["a", "c"]
    assert [cell.text for cell in kept.rows[0]] == ["x", ""]


def test_underscores_inside_words_are_no_markup():
    assert escape_markdown("max_steps _a_ b__c 1_%") == r"max_steps \_a\_ b\_\_c 1\_%"


def test_markdown_and_links(tmp_path):
    folder = tmp_path / "a (b)"
    folder.mkdir()
    links = (Link.relative("[x]", folder, tmp_path / "out"),)
    table = TextTable(
        (Column("a|b", "group"), Column("n", number=True)),
        ((Cell("<i>_", strong=True), Cell(links=links)), (Cell("~", faint=True), Cell())),
    )
    assert table.as_markdown().splitlines() == [
        r"| group: a\|b | n |",
        "| --- | --: |",
        r"| **\<i\>\_** | [\[x\]](../a%20%28b%29/) |",
        r"| *\~* |  |",
    ]
    assert table.as_csv().splitlines()[1] == "<i>_,../a (b)"
