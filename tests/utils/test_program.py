"""How a process ends; how it was started is tested with the scripts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.repository import ROOT

PROGRAM = f"""
import atexit, gc, os, sys, threading, time
sys.path.insert(0, {str(ROOT / "src")!r})
from deeplab.utils.program import short_exit

class Aborting:
    def __del__(self, abort=os.abort):
        abort()  # as a thread of C++ does that finds no Python any more

def write_late():
    time.sleep(0.2)
    open("late.txt", "w").write("late")

with short_exit():
    aborting = Aborting()
    file = open("unclosed.txt", "w")
    file.write("text")
    threading.Thread(target=write_late).start()
    atexit.register(lambda: print("callback"))
    print("line")
"""


def run_program(folder, end):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + end], cwd=folder, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("end", "status"), [("", 0), ("    sys.exit()", 0), ("    sys.exit(3)", 3)]
)
def test_a_short_exit_loses_nothing(tmp_path, end, status):
    done = run_program(tmp_path, end)
    assert (done.returncode, done.stdout, done.stderr) == (status, "line\ncallback\n", "")
    assert (tmp_path / "unclosed.txt").read_text() == "text"
    assert (tmp_path / "late.txt").read_text() == "late"


def test_an_exception_ends_as_usual(tmp_path):
    """With its traceback, and then with the objects taken apart, as the abort shows."""
    done = run_program(tmp_path, "    raise ZeroDivisionError")
    assert done.returncode == -signal.SIGABRT
    assert done.stdout == "line\ncallback\n"
    assert "line 21" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_an_output_that_cannot_be_written_ends_as_usual(tmp_path):
    program = PROGRAM.replace("  abort()", "pass")
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=variables,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 120
    assert "No space left on device" in done.stderr
