"""Lines about the progress of long work."""

import os
import sys
import termios
import time

import pytest

from deeplab.utils.progress_lines import ProgressLines, can_show_bars


@pytest.mark.parametrize(
    ("kind", "columns", "bars"), [("xterm", 100, True), ("xterm", 0, False), ("dumb", 100, False)]
)
def test_a_terminal_without_width_or_cursor_gets_lines(monkeypatch, kind, columns, bars):
    """``script`` and ``docker exec -t`` can give a terminal of 0 columns, where bars are empty."""
    other_end, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (40, columns))
    monkeypatch.setenv("TERM", kind)
    with os.fdopen(terminal, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert can_show_bars() == bars
    os.close(other_end)


def test_the_speed_is_that_of_recent_parts(monkeypatch, capsys):
    """The first step compiles for 100 seconds; later the machine becomes slower."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    lines = ProgressLines(40, "Step")
    for seconds in (100, *[0.5] * 11, *[2.0] * 4):
        now[0] += seconds
        lines.advance()
    printed = [line.partition(", ")[2] for line in capsys.readouterr().out.splitlines()]
    assert printed == [
        "0.5 s each, 0:00:18 left",
        "0.5 s each, 0:00:16 left",
        "0.5 s each, 0:00:14 left",
        "2 s each, 0:00:48 left",
    ]


def test_a_single_part_that_is_due_has_its_own_time(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    lines = ProgressLines(2, "Image", done=1)
    now[0] = 3.0
    lines.advance()
    assert capsys.readouterr().out == "Image 2 of 2 (100%), 3 s each, 0:00:00 left\n"
