"""Training runs in separate processes, for tests that stop them."""

import csv
import signal
import subprocess
import sys
import time

from support.repository import ROOT
from support.scripts import environment


def start_training(*arguments, cwd):
    """Start ``deeplab train`` in the background, in a process group of its own.

    It does not ignore SIGHUP, as it would if the tests run under ``nohup``.
    """
    return subprocess.Popen(
        [sys.executable, str(ROOT / "src/train.py"), *arguments],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


def wait_for_step(cwd, min_step, process):
    """Wait until the run below ``cwd`` has logged this step and has a checkpoint."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for path in cwd.glob("runs/*/metrics.csv"):
            with path.open() as file:
                steps = [int(r["step"]) for r in csv.DictReader(file) if r["step"].isdigit()]
            last = path.parent / "checkpoints/last.ckpt"
            if steps and steps[-1] >= min_step and last.exists():
                return
        time.sleep(0.05)
    raise AssertionError("the run did not get that far")
