"""Running the scripts as a user does."""

import os
import subprocess
import sys
from pathlib import Path

from deeplab.cli import ROOT

SMALL = (
    "data.train=8",
    "data.val=3",
    "data.size_min=48",
    "data.size_max=56",
    "data.crop_size=33",
    "data.eval_size=65",
    "stage.steps=2",
    "stage.batch_size=2",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.num_workers=0",
    "trainer.progress=false",
    "logger=csv",
)
"""Two steps of the default experiment in seconds."""


def environment() -> dict[str, str]:
    """One thread a process, since tests run side by side."""
    return os.environ | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "COLUMNS": "100"}


def run(script: str, *arguments: str, cwd: Path, ok: bool = True) -> subprocess.CompletedProcess:
    """Run ``src/<script>.py``; with ``ok`` it must succeed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "src" / f"{script}.py"), *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    if ok:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def run_folders(cwd: Path) -> list[Path]:
    """The run folders below ``runs/``, by name."""
    return sorted(p for p in (cwd / "runs").glob("*") if not p.name.startswith("."))
