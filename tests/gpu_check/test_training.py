"""Training with the device that ``auto`` chooses against the CPU; ``make gpu-check`` runs these.

On a machine without a GPU both sides are its CPU, which shows that the checks themselves work.
"""

import csv
import json
import os
import signal

import pytest
import torch

from support.processes import start_training, wait_for_step
from support.scripts import CPU, SMALL, run, run_folders

pytestmark = pytest.mark.gpu

STEPS = (*(s for s in SMALL if s not in CPU), "stage.max_steps=8", "trainer.log_every_n_steps=1")
FLOAT32 = ("trainer.precision=32-true", "trainer.compile=false")

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def losses(folder):
    with (folder / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def train(cwd, *overrides):
    """Train on the scenes that all tests share; return the run folder."""
    run("train", *STEPS, f"data.root={cwd.parent}/shapes", *overrides, cwd=cwd)
    (folder,) = run_folders(cwd)
    return folder


def test_losses_are_those_of_the_cpu(tmp_path):
    """A GPU rounds the factors of convolutions to ten bits (TF32), of which losses are far off."""
    folders = [tmp_path / name for name in ("device", "cpu")]
    for folder in folders:
        folder.mkdir()
    device = losses(train(folders[0], *FLOAT32))
    cpu = losses(train(folders[1], *FLOAT32, "trainer.accelerator=cpu"))
    assert len(device) == len(cpu) == 8
    assert device == pytest.approx(cpu, rel=0.02)


@pytest.mark.parametrize(
    "overrides",
    [(), ("trainer.compile=false",), ("trainer.precision=bf16-mixed", "trainer.compile=false")],
)
def test_a_training_learns(overrides, tmp_path):
    """Also in the precision and with the compilation that are chosen by themselves."""
    folder = train(tmp_path, "stage.max_steps=60", *overrides)
    values = losses(folder)
    assert sum(values[-10:]) < 0.9 * sum(values[:10])
    result = json.loads((folder / "metrics.json").read_text())
    record = json.loads((folder / "run.json").read_text())
    machine = record["sessions"][-1]["machine"]
    if torch.cuda.is_available():
        assert machine["accelerator"] == "cuda"
        assert machine["compiled"] == (not overrides)
        assert result["peak_memory_bytes"] > 2**20


def test_a_killed_training_resumes(tmp_path):
    """The losses before and after are those of an uninterrupted run, but for the device's order."""
    reference, killed = tmp_path / "reference", tmp_path / "killed"
    for folder in (reference, killed):
        folder.mkdir()
    long = ("stage.max_steps=40", *FLOAT32)
    expected = losses(train(reference, *long))
    data = f"data.root={tmp_path}/shapes"
    process = start_training(*STEPS, *long, data, cwd=killed)
    wait_for_step(killed, 7, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    printed = run("train", *STEPS, *long, data, cwd=killed).stdout
    assert "from step" in printed
    (folder,) = run_folders(killed)
    assert losses(folder) == pytest.approx(expected, rel=0.1)


@on_gpu
def test_too_large_a_batch_is_the_users_mistake(tmp_path):
    overrides = ("backbone=xception", "data.crop_size=513", "stage.batch_size=512")
    done = run("train", *STEPS, *overrides, cwd=tmp_path, ok=False)
    assert done.returncode == 2, done.stderr
    assert "stage.batch_size" in done.stderr
    assert "Traceback" not in done.stderr
