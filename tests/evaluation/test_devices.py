"""Evaluation on several devices equals that on one, to the last bit, also after interruptions."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import deeplab
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.evaluation import device_process
from deeplab.evaluation.device_workers import Share
from deeplab.evaluation.progress import progress_files
from deeplab.evaluation.segmentation import SegmentationEvaluation
from support.networks import randomize_logits
from support.repository import ROOT
from support.scripts import CPU, SMALL, environment

STRATEGIES = ["os16", "os8-x0.5+1-flip"]


def train(folder, num_val, batch):
    settings = [s for s in SMALL if not s.startswith("data.num_val")]
    settings += [f"data.num_val={num_val}", f"data.eval_batch_size={batch}"]
    run = deeplab.train(root=folder / "data", overrides=[*settings, f"runs_dir='{folder}/runs'"])
    randomize_logits(run.folder)
    return run


def evaluate(run, devices=1):
    overrides = [*CPU, f"trainer.devices={devices}", "overwrite=true", "trainer.num_workers=0"]
    return deeplab.evaluate(run, strategies=STRATEGIES, overrides=overrides)


def outcome(run, results):
    """Return everything that an evaluation has written, without times and machines."""
    files = {}
    for path in sorted(run.folder.glob("evaluations/*/**/*")):
        if path.suffix == ".npz":
            files[path] = {k: v.tolist() for k, v in np.load(path).items()}
        elif path.is_file() and path.name != "result.json":
            files[path] = path.read_bytes()
    assert any(path.parent.name == "predictions" for path in files)
    scores = [(r.scores, r.class_IoU, r.boundary, r.skipped_files, r.protocol) for r in results]
    return files, scores


@pytest.mark.processes
@pytest.mark.parametrize(("num_val", "batch", "devices"), [(5, 2, 2), (1, 1, 2)])
def test_splits_that_do_not_divide_evenly(tmp_path, num_val, batch, devices):
    run = train(tmp_path, num_val, batch)
    expected = outcome(run, evaluate(run))
    assert outcome(run, evaluate(run, devices)) == expected


def interrupt_after(monkeypatch, images):
    """Interrupt evaluations in this process when they score this image."""
    score, seen = SegmentationEvaluation.score, []

    def interrupted(self, image, drafts):
        seen.append(image.id)
        if len(seen) > images:
            raise KeyboardInterrupt
        return score(self, image, drafts)

    monkeypatch.setattr(SegmentationEvaluation, "score", interrupted)


@pytest.mark.processes
def test_an_interrupted_evaluation_goes_on(tmp_path, monkeypatch, capsys):
    run = train(tmp_path, 5, batch=2)
    expected = outcome(run, evaluate(run))
    before = {p: p.read_bytes() for p in run.folder.glob("evaluations/**/*") if p.is_file()}
    for images in (1, 2):
        with monkeypatch.context() as patch:
            interrupt_after(patch, images)
            with pytest.raises(KeyboardInterrupt):
                evaluate(run)
    assert {path: path.read_bytes() for path in before} == before
    (unfinished,) = run.folder.glob("evaluations/.unfinished-*")
    assert len(progress_files(unfinished)) == 2
    capsys.readouterr()
    assert outcome(run, evaluate(run)) == expected
    assert "Resuming: 3 of 5 images are already evaluated" in capsys.readouterr().out
    assert not unfinished.exists()


def test_a_process_has_the_threads_that_are_set_and_finds_no_bands_again(tmp_path, monkeypatch):
    run = train(tmp_path, 2, batch=1)
    threads = torch.get_num_threads() + 1
    settings = {"accelerator": "cpu", "devices": 2, "num_workers": 0, "num_threads": threads}
    config = EvaluateConfig(run=str(run.folder), trainer=settings)
    seen = []
    monkeypatch.setattr("deeplab.evaluation.segmentation.find_bands", pytest.fail)
    monkeypatch.setattr(
        device_process, "evaluate_share", lambda *_: seen.append(torch.get_num_threads())
    )
    device_process.evaluate(Share(config, (), tmp_path, tmp_path / "0", 0, (), ()), print)
    assert seen == [threads]


def start(run: Path, devices):
    arguments = [f"run={run}", f"strategies=[{','.join(STRATEGIES)}]", *CPU, "overwrite=true"]
    return subprocess.Popen(
        [sys.executable, ROOT / "src/evaluate.py", *arguments, f"trainer.devices={devices}",
         "trainer.num_workers=0", "trainer.enable_progress_bar=true"],
        cwd=run.parents[1], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def children(process):
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.processes
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
@pytest.mark.long
def test_stops_and_kills_end_all_processes_and_the_rest_goes_on(tmp_path):
    run = train(tmp_path, 80, 1)
    expected = outcome(run, evaluate(run))

    process = start(run.folder, 2)
    assert any(line.startswith("Evaluating: ") for line in process.stderr)
    time.sleep(0.3)  # until both processes have results
    workers = children(process)
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "Interrupted. Run the same command to go on."
    (unfinished,) = run.folder.glob("evaluations/.unfinished-*")
    assert progress_files(unfinished)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)

    process = start(run.folder, 2)
    assert any(line.startswith("Resuming: ") for line in process.stdout)
    wait_for(lambda: len(children(process)) == 2)
    workers = children(process)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))

    process = start(run.folder, 2)
    wait_for(lambda: len(children(process)) == 2)
    os.kill(children(process)[1], signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert "\nError: trainer.devices: process " in f"\n{errors}"
    assert "was ended by SIGKILL" in errors
    assert "Traceback" not in errors

    assert outcome(run, evaluate(run, 2)) == expected
