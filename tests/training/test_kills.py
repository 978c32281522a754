"""Kills, signals and full disks in training and evaluation."""

import os
import re
import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch

from deeplab.tracking.run_folder import RunFolder
from deeplab.training.checkpoint_io import AtomicCheckpointIO
from deeplab.training.compose_config import compose_train
from deeplab.training.loggers import MetricsCSV
from deeplab.training.train import _first_step, run_experiment
from deeplab.utils.errors import UserError
from deeplab.utils.progress import ProgressLines
from support.repository import ROOT
from support.scripts import SMALL, run


def kill(*arguments):
    """Run the campaign; its forks need a process that has registered nothing for its end.

    Random moments, which depend on the machine's load, are left to its command.
    """
    done = subprocess.run(
        [sys.executable, "-m", "support.kill_campaign", "--moments=0", *arguments],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.processes
@pytest.mark.long
def test_nothing_shows_that_a_run_was_killed():
    kill("--processes=1", "--signals=SIGKILL")


@pytest.mark.processes
@pytest.mark.long
def test_nothing_shows_that_a_run_was_told_to_stop():
    """A run stops after its step, wherever the signal comes."""
    named = "validation", "in a checkpoint", "before the result", "between results"
    kill("--processes=1", "--signals=SIGTERM", "--named", *named)


@pytest.mark.processes
@pytest.mark.long
def test_nothing_shows_that_a_run_of_two_processes_was_killed():
    named = "validation row", "in a checkpoint", "before the result"
    kill("--processes=2", "--scripts=train", "--signals=SIGKILL", "--named", *named)


@contextmanager
def file_size_limit(num_bytes):
    """Let no file grow beyond a size in the block, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"a": torch.arange(3)}, path)
    full = pytest.raises(UserError, match=f"{tmp_path}: .*Free some space")
    with file_size_limit(1000), full:
        AtomicCheckpointIO().save_checkpoint({"a": torch.zeros(10_000)}, path)
    assert torch.load(path)["a"].tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_rows_that_a_full_disk_cut_off_are_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    first = MetricsCSV(path, ["train/loss", "val/mIoU"])
    first.log_metrics({"train/loss": 1.5}, step=37)
    complete = path.read_bytes()
    full = pytest.raises(UserError, match="Free some space")
    with file_size_limit(len(complete) + 1), full:
        first.log_metrics({"train/loss": 0.5}, step=38)
    assert path.read_bytes() == complete + b"3"  # of 39
    second = MetricsCSV(path, ["train/loss", "val/mIoU"], first_step=38)
    second.log_metrics({"train/loss": 0.25}, step=38)
    assert path.read_bytes() == complete + b"39,0.25,\r\n"


def test_rows_are_not_added_to_a_file_that_is_gone(tmp_path):
    logger = MetricsCSV(tmp_path / "metrics.csv", ["train/loss"])
    logger.log_metrics({"train/loss": 1.5}, step=37)
    (tmp_path / "metrics.csv").unlink()
    with pytest.raises(UserError, match=r"metrics\.csv: cannot be written \(No such file"):
        logger.log_metrics({"train/loss": 0.5}, step=38)


def test_the_validation_of_the_step_that_a_run_continues_from_is_logged_again(tmp_path):
    rows = [{"train/loss": 2.0}, {"val/mIoU": 3.0}], [{"train/loss": 1.0}, {"val/mIoU": 4.0}]
    path = tmp_path / "metrics.csv"
    first = MetricsCSV(path, ["train/loss", "val/mIoU"])
    for step, pair in enumerate(rows):
        for row in pair:
            first.log_metrics(row, step=step)
    complete = path.read_bytes()
    for first_step in (1, 2):
        second = MetricsCSV(path, ["train/loss", "val/mIoU"], first_step=first_step)
        second.log_metrics(rows[first_step - 1][1], step=first_step - 1)
        for row in rows[1] if first_step == 1 else ():
            second.log_metrics(row, step=1)
        assert path.read_bytes() == complete


def test_a_run_without_a_progress_bar_prints_lines(tmp_path):
    arguments = [s for s in SMALL if "steps" not in s]
    printed = run("train", *arguments, "stage.max_steps=4", cwd=tmp_path).stdout
    lines = re.findall(r"^Step (\d) of 4 .* left: train/loss \d", printed, re.MULTILINE)
    assert lines == ["1", "2", "3", "4"]


def test_a_run_that_another_process_finishes_before_the_lock_is_not_repeated(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    run("train", *SMALL, cwd=tmp_path)
    (folder,) = (tmp_path / "runs").iterdir()
    before = (folder / "run.json").read_bytes()
    looks = iter([False])  # then as it is
    finished = RunFolder.finished.fget
    late = property(lambda folder: next(looks, None) is None and finished(folder))
    monkeypatch.setattr(RunFolder, "finished", late)
    run_experiment(compose_train(SMALL))
    assert "This run is finished" in capsys.readouterr().out
    assert (folder / "run.json").read_bytes() == before


def test_no_process_goes_on_from_the_run_that_another_one_is_to_move_away(tmp_path):
    """With overwrite=true; srun and torchrun start all of them at once."""
    config, folder = compose_train(SMALL), RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    AtomicCheckpointIO().save_checkpoint({"global_step": 1}, folder.last)
    assert _first_step(config, folder) == 1
    assert _first_step(config.model_copy(update={"overwrite": True}), folder) == 0


def test_lines_are_few_and_come_at_least_every_few_minutes(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    lines = ProgressLines("Step", 10_000, done=5000)
    for _ in range(5000):
        now[0] += 1.0
        lines.advance()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 20
    assert printed[0] == "Step 5301 of 10000 (53%), 1 s each, 1:18:19 left"
