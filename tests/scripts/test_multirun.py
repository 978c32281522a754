"""Sweeps by ``train.py -m``: failing jobs, several devices, and other launchers."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.repository import ROOT
from support.scripts import SMALL, environment, run, run_folders
from support.trees import voc_tree

VOC = (
    "data=voc",
    "data.crop_size=33",
    "data.eval_size=65",
    "backbone=resnet_tiny",
    "aspp=tiny",
    "decoder=tiny",
    *(s for s in SMALL if not s.startswith("data.")),
)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Draw the images of the default data set; return the override of their folder."""
    cwd = tmp_path_factory.mktemp("shapes")
    run("train", *SMALL, cwd=cwd)
    return f"data.root={cwd}/data/shapes"


def damaged_tree(root):
    """Write a tree whose split ``bad`` has an undecodable image; return also its repair."""
    tree = voc_tree(root, {"train": 4, "val": 2, "bad": 4, "more": 4})
    image = tree / "JPEGImages/bad_1.jpg"
    content = image.read_bytes()
    pixels = content.index(b"\xff\xda") + 14  # after the header, which all decoders can read
    image.write_bytes(content[:pixels] + bytes(len(content) - pixels))  # same size: the same run
    return f"data.root={tree}", lambda: image.write_bytes(content)


@pytest.mark.processes
def test_a_failed_job_reports_its_error_and_the_other_jobs_continue(tmp_path):
    root, repair = damaged_tree(tmp_path / "voc")
    sweep = ("-m", *VOC, root, "data.train_split=train,bad,more")
    done = run("train", *sweep, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    match = re.search(r"^Error in job 2 \((.*)\): (.*)$", done.stderr, re.MULTILINE)
    assert "data.train_split=bad" in match[1]
    assert "bad_1.jpg: this JPEG is truncated" in match[2]
    assert "Traceback" not in done.stderr
    folders = run_folders(tmp_path)
    assert len(folders) == 3
    (failed,) = (f for f in folders if not (f / "metrics.json").exists())
    assert [f for f in folders if (f / "failure.txt").exists()] == [failed]
    assert "bad_1.jpg" in (failed / "failure.txt").read_text().splitlines()[-1]
    assert "Traceback" in (failed / "failure.txt").read_text()
    assert "Not done: data.train_split=bad seed=0" in done.stdout
    scored = {row["data.train_split"]: row["mIoU"] for row in sweep_rows(tmp_path)}
    assert [bool(scored[split]) for split in ("train", "bad", "more")] == [True, False, True]
    assert "bad_1.jpg: this JPEG is truncated" in sweep_rows(tmp_path)[1]["remark"]
    repair()
    again = run("train", *sweep, cwd=tmp_path)
    assert "3 distinct runs, 1 to run" in again.stdout
    assert all(float(row["mIoU"]) >= 0 for row in sweep_rows(tmp_path))
    assert (failed / "metrics.json").exists()
    assert not (failed / "failure.txt").exists()
    assert not (failed / "lock").exists()


def sweep_rows(cwd):
    """Return the rows of the table that a sweep has ended with."""
    (table,) = cwd.glob("runs/sweeps/*/single-scale.csv")
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


TOO_LARGE = "data.augmentations=[],[{RandomCrop:{height:500,width:500}}]"


@pytest.mark.processes
def test_an_unexpected_error_keeps_its_traceback(tmp_path, shapes):
    done = run("train", "-m", *SMALL, shapes, TOO_LARGE, "seed=0,1", cwd=tmp_path, ok=False)
    assert done.returncode == 1
    assert re.findall(r"^Error in job (\d)", done.stderr, re.MULTILINE) == ["3", "4"]
    assert "Traceback" in done.stderr
    assert "CropSizeError: Crop size" in sweep_rows(tmp_path)[1]["remark"]
    folders = run_folders(tmp_path)
    assert sum((f / "metrics.json").exists() for f in folders) == 2
    assert sum((f / "failure.txt").exists() for f in folders) == 2


TWO = ("trainer.devices=2", "stage.max_steps=4", "trainer.log_every_n_steps=1")


@pytest.fixture(scope="module")
def single_runs(tmp_path_factory, shapes):
    """Train two runs on two devices without a sweep; return their folders."""
    cwd = tmp_path_factory.mktemp("single_runs")
    for seed in (0, 1):
        run("train", *SMALL, *TWO, shapes, f"seed={seed}", cwd=cwd)
    return run_folders(cwd)


@pytest.mark.processes
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_jobs_on_several_devices_equal_single_runs(tmp_path, shapes, single_runs, launcher):
    if launcher != "basic":
        pytest.importorskip(f"hydra_plugins.hydra_{launcher}_launcher")
    sweep = ("-m", f"hydra/launcher={launcher}", "hydra.sweep.dir=.swept", "seed=0,1")
    run("train", *sweep, *SMALL, *TWO, shapes, cwd=tmp_path)
    folders = run_folders(tmp_path)
    assert [f.name for f in folders] == [f.name for f in single_runs]
    for folder, reference in zip(folders, single_runs, strict=True):
        (session,) = json.loads((folder / "run.json").read_text())["sessions"]
        assert session["machine"]["devices"] == 2
        assert "-m" not in session["command"].split()
        rows = list(csv.DictReader((folder / "metrics.csv").open()))
        assert len({tuple(row.values()) for row in rows}) == len(rows)
        assert rows == list(csv.DictReader((reference / "metrics.csv").open()))
        weights, expected = (load_file(f / "weights.safetensors") for f in (folder, reference))
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert {p.name for p in tmp_path.iterdir()} == {"runs"}


@pytest.mark.processes
def test_a_failing_job_on_several_devices(tmp_path, shapes):
    sweep = (
        "-m",
        "seed=0",
        "trainer.devices=2",
        "data.augmentations=[{RandomCrop:{height:500,width:500}}]",
    )
    done = run("train", *sweep, *SMALL, shapes, cwd=tmp_path, ok=False)
    assert done.returncode == 1
    assert re.search(
        r"^Error in job 1 \(.*\): its process (ended with|was ended by)", done.stderr, re.M
    )
    (folder,) = run_folders(tmp_path)
    assert "Traceback" in (folder / "failure.txt").read_text()


@pytest.mark.processes
def test_jobs_of_a_queue(tmp_path, shapes):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    sweep = ("-m", "hydra/launcher=submitit_local", *SMALL, shapes)
    done = run("train", *sweep, TOO_LARGE, cwd=tmp_path, ok=False)
    assert done.returncode == 1
    assert re.findall(r"^Error in job (\d)", job_output(tmp_path), re.MULTILINE) == ["2"]
    folders = run_folders(tmp_path)
    assert [(f / "failure.txt").exists() for f in folders] == [
        not (f / "metrics.json").exists() for f in folders
    ]
    assert sum((f / "failure.txt").exists() for f in folders) == 1
    done = run("train", *sweep, "seed=0,1", cwd=tmp_path)
    assert "2 distinct runs, 1 to run" in done.stdout
    assert len(run_folders(tmp_path)) == 3
    assert sum((f / "metrics.json").exists() for f in run_folders(tmp_path)) == 2


def job_output(cwd):
    """Return the logs of submitit's jobs."""
    return "".join(p.read_text() for p in sorted(cwd.glob("runs/.multirun/*/.submitit/*/*_log.*")))


def process_tree(process):
    """Return the ids of a process and of all its descendants."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(member for child in children for member in process_tree(int(child)))]


def count_logged_steps(cwd):
    """Return the number of steps that all runs have logged."""
    return sum(len(path.read_text().splitlines()) - 1 for path in cwd.glob("runs/*/metrics.csv"))


@pytest.mark.processes
@pytest.mark.parametrize("how", ["Ctrl-C", "kill"])
def test_a_sweep_on_several_devices_stops_after_a_step(tmp_path, shapes, how):
    """Ctrl-C signals a process group, the shell's kill one process."""
    long_run = (*SMALL, *TWO, "stage.max_steps=2000", "trainer.num_checkpoints=1", shapes)
    sweep = subprocess.Popen(
        [sys.executable, str(ROOT / "src/train.py"), "-m", "seed=0,1", *long_run],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while count_logged_steps(tmp_path) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if how == "Ctrl-C":
        os.killpg(sweep.pid, signal.SIGINT)
    else:
        os.kill(sweep.pid, signal.SIGTERM)
    try:
        output, _ = sweep.communicate(timeout=60)
    finally:
        if sweep.poll() is None:
            for process in process_tree(sweep.pid):
                os.kill(process, signal.SIGKILL)
    assert sweep.returncode == 130, output
    assert "Stopping after this step" in output
    (folder,) = run_folders(tmp_path)  # the second job has not started
    assert (folder / "checkpoints/last.ckpt").exists(), output
    assert not (folder / "metrics.json").exists()
    assert not (folder / "failure.txt").exists()
    assert not (folder / "lock").exists()


@pytest.mark.processes
def test_a_run_in_progress_on_another_machine_is_not_touched(tmp_path, shapes):
    existing_runs = run_folders(Path(shapes.partition("=")[2]).parents[1])
    folder = tmp_path / "runs" / existing_runs[0].name
    folder.mkdir(parents=True)
    owner = {"host": "elsewhere", "process": 1, "since": "2026-01-02T12:03:00+00:00", "token": "t"}
    (folder / "lock").write_text(json.dumps(owner) + "\n")
    done = run("train", "-m", *SMALL, shapes, "seed=0,1", cwd=tmp_path)
    assert "In progress in another process. Run the same command later" in done.stdout
    assert f"{folder.name}: this run is in progress in process 1 on host elsewhere" in done.stderr
    assert [p.name for p in folder.iterdir()] == ["lock"]  # no failure.txt in that run's folder
    (other_run,) = (f for f in run_folders(tmp_path) if f != folder)
    assert (other_run / "metrics.json").exists()
