"""Jobs of a sweep in subprocesses: returned scores, signals."""

import json
import subprocess
import sys

import pytest

from deeplab.training import launch
from deeplab.utils.errors import UserError
from support.repository import ROOT
from support.scripts import SMALL, environment

RETURNED = f"""
import sys
sys.path.insert(0, {str(ROOT / "src")!r})
from deeplab.config.hydra_app import run_script
from deeplab.scripts import train
from deeplab.utils.program import start_program
start_program("train")
run_script(lambda config: print("returned", train(config)), "train")
"""


def test_a_job_that_was_killed_names_the_likely_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "child_command", lambda *_: ["sh", "-c", "kill -KILL $$"])
    with pytest.raises(UserError, match="ended by SIGKILL, probably because memory ran out"):
        launch.run_in_subprocess([], tmp_path)


@pytest.mark.processes
def test_a_job_returns_its_score_to_the_sweeper(tmp_path):
    """On two devices a subprocess trains, in which the sweeper does not run."""
    script = tmp_path / "returned.py"
    script.write_text(RETURNED)
    command = [sys.executable, script, "-m", *SMALL, "trainer.devices=2"]
    output = subprocess.check_output(command, cwd=tmp_path, env=environment(), text=True)
    (result,) = tmp_path.glob("runs/*/metrics.json")
    score = json.loads(result.read_text())["mIoU"]
    assert score > 0
    assert f"returned {score}" in output.splitlines()
