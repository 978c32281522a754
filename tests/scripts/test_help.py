"""Output of ``--help``, which must appear without loading torch."""

import subprocess
import sys

import pytest

from deeplab.cli import COMMANDS
from support.repository import ROOT
from support.scripts import check_imports, environment, script_code


@pytest.mark.parametrize("script", COMMANDS)
def test_help_does_not_import_torch(script):
    printed = check_imports(script_code(script, "--help"))
    assert f"deeplab {script}" in printed
    assert f"src/{script}.py" not in printed


def test_help_is_the_same_after_other_arguments():
    """A user adds it to the line that was wrong."""
    expected = check_imports(script_code("train", "--help"))
    for line in (
        ["stage.max_stps=3", "-h"],
        ["-m", "ablation=table1", "num_seeds=2", "--help"],
        ["--help", "decoder=none"],
    ):
        assert check_imports(script_code("train", *line)) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("deeplab ", [*COMMANDS]),
        ("deeplab ev", ["evaluate"]),
        ("deeplab train backbone=xception_", ["backbone=xception_tiny"]),
        ("deeplab evaluate overw", ["overwrite="]),
        ("deeplab benchmark ", []),
    ],
)
def test_bash_completes_subcommands_choices_and_keys(line, words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "deeplab", "-sc", "query=bash"],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(ROOT / "src"), "COMP_LINE": line},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == words
    assert not done.stderr
