"""Bars and lines about the progress of long work."""

import os
import select
import sys
import termios
import time
from contextlib import contextmanager
from functools import partial

import pytest

from deeplab.utils.progress import ProgressBar, ProgressLines, can_show_bars, show_progress


@contextmanager
def terminal(monkeypatch, kind, columns):
    """Give standard error a terminal; yield a function that returns what was printed there."""
    other_end, end = os.openpty()
    termios.tcsetwinsize(end, (40, columns))
    monkeypatch.setenv("TERM", kind)
    with os.fdopen(end, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        yield partial(read_all, other_end)
    os.close(other_end)


def read_all(terminal):
    """Return what was printed in a terminal."""
    text = b""
    while select.select([terminal], [], [], 0.1)[0]:
        text += os.read(terminal, 1000)
    return text.decode()


TERMINALS = [("xterm", 100, True), ("xterm", 0, False), ("dumb", 100, False)]


@pytest.mark.parametrize(("kind", "columns", "bars"), TERMINALS)
def test_a_terminal_without_width_or_cursor_gets_lines(monkeypatch, kind, columns, bars):
    """``script`` and ``docker exec -t`` can give a terminal of 0 columns, where bars are empty."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with terminal(monkeypatch, kind, columns) as printed:
        assert can_show_bars(sys.stderr) == bars
        for i in show_progress(range(100), "Predicting", 100, "img"):
            now[0] += 1 if i >= 60 else 0.125
        text = printed()
    if bars:
        assert text.count("\n") == 1
        assert "Predicting: 100%" in text
        assert "100/100" in text
    else:
        # after two tenths of the work each at first, since one takes less than two seconds
        assert text.splitlines() == [
            "Predicting: 20 of 100 (20%), 0.125 s each, 0:00:10 left",
            "Predicting: 40 of 100 (40%), 0.125 s each, 0:00:08 left",
            "Predicting: 60 of 100 (60%), 0.125 s each, 0:00:05 left",
            "Predicting: 70 of 100 (70%), 1 s each, 0:00:30 left",
            "Predicting: 80 of 100 (80%), 1 s each, 0:00:20 left",
            "Predicting: 90 of 100 (90%), 1 s each, 0:00:10 left",
            "Predicting: 100 of 100 (100%), 1 s each, 0:00:00 left",
        ]


def test_nothing_is_shown_where_no_bars_are_wanted(monkeypatch):
    with terminal(monkeypatch, "xterm", 100) as printed:
        list(show_progress(range(100), "Predicting", 100, "img", show=False))
        print("end", file=sys.stderr, flush=True)
        assert printed().split() == ["end"]


def test_lines_about_a_download_that_is_cut_and_starts_again(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with ProgressBar("Downloading", None, "B") as bar:
        bar.restart(0, 10_000_000)
        for state, done in (("", 3_000_000), ("connection refused", 0)):
            bar.set_state(state)
            bar.restart(done, 10_000_000)
            for _ in range(4):
                now[0] += 2
                bar.update(1_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "Downloading: 4.00 MB of 10.0 MB (40%), 500 kB/s, 0:00:12 left",
        "Downloading: 5.00 MB of 10.0 MB (50%), 500 kB/s, 0:00:10 left",
        "Downloading: 6.00 MB of 10.0 MB (60%), 500 kB/s, 0:00:08 left",
        "Downloading: 7.00 MB of 10.0 MB (70%), 500 kB/s, 0:00:06 left",
        "Downloading: connection refused",
        "Downloading: 1.00 MB of 10.0 MB (10%), 500 kB/s, 0:00:18 left",
        "Downloading: 2.00 MB of 10.0 MB (20%), 500 kB/s, 0:00:16 left",
        "Downloading: 3.00 MB of 10.0 MB (30%), 500 kB/s, 0:00:14 left",
        "Downloading: 4.00 MB of 10.0 MB (40%), 500 kB/s, 0:00:12 left",
    ]


def test_work_of_unknown_size_is_told_of_every_few_minutes(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in show_progress(range(620), "film.mp4", None, "frame"):
        now[0] += 1
    assert capsys.readouterr().err.splitlines() == [
        "film.mp4: 301, 1 s each",
        "film.mp4: 602, 1 s each",
    ]


def test_the_speed_is_that_of_recent_parts(monkeypatch, capsys):
    """The first step compiles for 100 seconds; later the machine becomes slower."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    lines = ProgressLines("Step", 40)
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
    lines = ProgressLines("Image", 2, done=1)
    now[0] = 3.0
    lines.advance()
    assert capsys.readouterr().out == "Image 2 of 2 (100%), 3 s each, 0:00:00 left\n"
