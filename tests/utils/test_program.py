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


def run_program(folder, program, *, name="deeplab", **options):
    """Run a file whose name is by default that of the installed command."""
    path = folder / name
    path.write_text(program)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([sys.executable, path], cwd=folder, text=True, **streams)


def test_a_typed_program_ends_as_usual():
    """Also in the folder of the scripts."""
    code = "from deeplab.utils.program import short_exit\nwith short_exit():\n    pass\nexit(3)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src")
    assert done.returncode == 3


@pytest.mark.parametrize(
    ("end", "status"), [("", 0), ("    sys.exit()", 0), ("    sys.exit(3)", 3)]
)
def test_a_short_exit_loses_nothing(tmp_path, end, status):
    done = run_program(tmp_path, PROGRAM + end)
    assert (done.returncode, done.stdout, done.stderr) == (status, "line\ncallback\n", "")
    assert (tmp_path / "unclosed.txt").read_text() == "text"
    assert (tmp_path / "late.txt").read_text() == "late"


def test_an_exception_ends_as_usual(tmp_path):
    """With its traceback, and then with the objects taken apart, as the abort shows."""
    done = run_program(tmp_path, f"{PROGRAM}    raise ZeroDivisionError")
    assert done.returncode == -signal.SIGABRT
    assert done.stdout == "line\ncallback\n"
    assert "line 21" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_a_program_that_goes_on_ends_as_usual(tmp_path):
    """Its status is its own."""
    program = PROGRAM.replace("  abort()", "pass")
    wrapped = f"{program}    sys.exit(2)".replace("\n", "\n    ")
    after = "import time\ntry:\n    {}\nexcept SystemExit:\n    print('goes on')\nsys.exit(3)"
    done = run_program(tmp_path, after.format(wrapped), name="own.py")
    assert (done.returncode, done.stdout) == (3, "line\ngoes on\ncallback\n"), done.stderr


def test_an_output_that_cannot_be_written_ends_as_usual(tmp_path):
    program = PROGRAM.replace("  abort()", "pass")
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = run_program(tmp_path, program, env=variables, stdout=full)
    assert done.returncode == 120
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (["-m", "deeplab", "runs"], 2),
        ([ROOT / "src/runs.py"], 2),
        (["-m", "cProfile", "-o", "profile", ROOT / "src/runs.py"], -signal.SIGABRT),
    ],
)
def test_the_commands_have_a_short_exit(tmp_path, start, status):
    """An object of a module that the start of Python imports shows whether it is taken apart."""
    start_module = PROGRAM.partition("def write_late")[0] + "Aborting.object = Aborting()\n"
    (tmp_path / "sitecustomize.py").write_text(start_module)
    variables = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}"}
    command = [sys.executable, *start]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.stderr == "Error: runs_dir=runs: no such folder. Name the folder of your runs.\n"
    assert done.returncode == status
    assert (tmp_path / "profile").exists() == ("cProfile" in start)
