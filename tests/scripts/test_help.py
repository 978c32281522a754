"""Output of ``--help``, which must appear without loading torch, and of the shell's completion."""

import json
import subprocess
import sys

from deeplab.cli import COMMANDS
from support.repository import ROOT
from support.scripts import HEAVY, environment

FORKS = """
import json, os, runpy, sys
import deeplab.config.command_line, deeplab.config.hydra_app, deeplab.config.schema.scripts
for number, (script, arguments, variables) in enumerate(json.load(sys.stdin)):
    if os.fork():
        assert os.wait()[1] == 0, script
        continue
    out, err = (os.open(f"{name}{number}", os.O_WRONLY | os.O_CREAT) for name in ("out", "err"))
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ |= variables
    sys.argv[:] = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        assert not end.code
    with open(f"modules{number}", "w") as file:
        file.write(" ".join(sys.modules))
    sys.stdout.flush()
    os._exit(0)
"""
"""Runs scripts in forks of a process that has what all of them import, the keys and Hydra."""


def outputs(folder, *lines):
    """Run scripts with arguments and variables in the environment; return what each printed.

    None of them may import a heavy package or print an error.
    """
    subprocess.run(
        [sys.executable, "-c", FORKS],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        input=json.dumps([(str(ROOT / "src" / path), *line) for path, *line in lines]),
        text=True,
        check=True,
    )
    for number in range(len(lines)):
        assert not HEAVY & {*(folder / f"modules{number}").read_text().split()}, lines[number]
        assert not (folder / f"err{number}").read_text()
    return [(folder / f"out{number}").read_text() for number in range(len(lines))]


def test_help_does_not_import_torch(tmp_path):
    lines = [(f"{script}.py", ["--help"], {}) for script in COMMANDS]
    for script, printed in zip(COMMANDS, outputs(tmp_path, *lines), strict=True):
        assert f"deeplab {script}" in printed
        assert f"src/{script}.py" not in printed


def test_help_lists_the_groups_that_the_script_takes(tmp_path):
    (printed,) = outputs(tmp_path, ("prepare.py", ["--help"], {}))
    assert "\ndata: " in printed
    assert "\nablation: " not in printed
    assert printed.endswith("finds them.\n")


def test_help_is_the_same_after_other_arguments(tmp_path):
    """A user adds it to the line that was wrong."""
    expected, *printed = outputs(
        tmp_path,
        ("train.py", ["--help"], {}),
        ("train.py", ["stage.max_stps=3", "-h"], {}),
        ("train.py", ["-m", "ablation=table1", "num_seeds=2", "--help"], {}),
        ("train.py", ["--help", "decoder=none"], {}),
    )
    assert "deeplab train" in expected
    assert printed == [expected] * 3


def test_bash_completes_subcommands_choices_and_keys(tmp_path):
    expected = {
        "deeplab ": [*COMMANDS],
        "deeplab ev": ["evaluate"],
        "deeplab train backbone=xception_": ["backbone=xception_tiny"],
        "deeplab evaluate overw": ["overwrite="],
        "deeplab benchmark ": [],
    }
    lines = [
        ("deeplab/__main__.py", ["-sc", "query=bash"], {"COMP_LINE": line}) for line in expected
    ]
    printed = outputs(tmp_path, *lines)
    assert [text.split() for text in printed] == [*expected.values()]
