"""Training runs in processes of their own, to be stopped."""

import csv
import subprocess
import sys
import time

from deeplab.config.paths import ROOT
from support.scripts import environment


def start(*arguments, cwd):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "src/train.py"), *arguments],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_step(folder_of, at_least, process):
    """Until the run's last checkpoint is of this step."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for path in folder_of.glob("runs/*/metrics.csv"):
            with path.open() as file:
                steps = [int(r["step"]) for r in csv.DictReader(file) if r["step"].isdigit()]
            last = path.parent / "checkpoints/last.ckpt"
            if steps and steps[-1] >= at_least and last.exists():
                return
        time.sleep(0.05)
    raise AssertionError("the run did not get that far")
