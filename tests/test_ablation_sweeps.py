"""Sweeps over ablation tables through the real script: nothing twice, nothing lost."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from deeplab.cli import ROOT
from scripts import SMALL, environment, run, run_folders

TABLE_1 = ("-m", "ablation=table1", "profile=quick", *SMALL)
EVALUATED = "evaluations/val-weights-os16/result.json"


def stamps(folders):
    """When each file of runs was written."""
    return {p: p.stat().st_mtime_ns for f in folders for p in f.rglob("*.json")}


def channels(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())["decoder"]["low_level_channels"]


def of_table(cwd):
    return [f for f in run_folders(cwd) if f.name.startswith("shapes-")]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder in which Table 1 was run."""
    cwd = tmp_path_factory.mktemp("swept")
    done = run("train", *TABLE_1, cwd=cwd)
    assert "5 distinct trainings, 5 of them to run" in done.stdout
    return cwd


def test_every_row_is_trained_and_evaluated(swept):
    folders = of_table(swept)
    assert sorted(map(channels, folders)) == [8, 16, 32, 48, 64]
    for folder in folders:
        assert json.loads((folder / EVALUATED).read_text())["weights"] == "weights.safetensors"
        assert len(json.loads((folder / "run.json").read_text())["starts"]) == 1
    assert (swept / "runs/ablations/quick/index.html").is_file()


def test_what_is_done_is_not_done_again(swept):
    before = stamps(of_table(swept))
    done = run("train", *TABLE_1, cwd=swept)
    assert "5 distinct trainings, 0 of them to run" in done.stdout
    assert stamps(of_table(swept)) == before


def test_a_run_that_was_launched_by_hand_fills_its_row(tmp_path, swept):
    cwd = shutil.copytree(swept, tmp_path / "copy")
    (lost,) = (f for f in of_table(cwd) if channels(f) == 16)
    shutil.rmtree(lost)
    by_hand = ["data=shapes", "decoder.convs=[[3,64]]", "decoder.low_level_channels=16"]
    run("train", *by_hand, *SMALL, cwd=cwd)
    assert lost.is_dir()
    before = stamps([lost])
    planned = run("ablations", "plan", "ablation=table1", "probe=false", *SMALL, cwd=cwd).stdout
    assert "trained, not evaluated in all ways" in planned
    assert "5 distinct trainings: 4 done, 1 to run" in planned
    run("train", *TABLE_1, cwd=cwd)
    assert (lost / EVALUATED).is_file()
    after = stamps([lost])
    assert all(after[path] == written for path, written in before.items())  # trained once


def test_a_killed_sweep_goes_on(tmp_path, swept):
    """The run that was cut ends with the weights of one that was not."""
    cwd = tmp_path / "cut"
    cwd.mkdir()
    shutil.copytree(swept / "data", cwd / "data")
    longer = [a for a in TABLE_1 if not a.startswith("stage.steps")]
    longer += ["stage.steps=40", "trainer.checkpoints=20", "trainer.validations=1"]
    command = [sys.executable, str(ROOT / "src/train.py"), *longer]
    sweep = subprocess.Popen(command, cwd=cwd, env=environment(), start_new_session=True)

    def begun():
        return [f for f in of_table(cwd) if (f / "checkpoints/last.ckpt").is_file()]

    deadline = time.monotonic() + 120
    while len(begun()) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    finished = [f for f in of_table(cwd) if (f / EVALUATED).is_file()]
    (cut,) = (f for f in begun() if not (f / "metrics.json").is_file())
    assert len(finished) == 1
    before = stamps(finished)
    planned = run("ablations", "plan", "ablation=table1", "probe=false", *longer[3:], cwd=cwd)
    assert "interrupted at step" in planned.stdout
    run("train", *longer, cwd=cwd)
    assert stamps(finished) == before
    starts = json.loads((cut / "run.json").read_text())["starts"]
    assert [start["from_step"] > 0 for start in starts] == [False, True]
    whole = tmp_path / "whole"
    whole.mkdir()
    shutil.copytree(swept / "data", whole / "data")
    row = ["decoder.convs=[[3,64]]", f"decoder.low_level_channels={channels(cut)}"]
    run("train", *row, *longer[3:], cwd=whole)
    (reference,) = run_folders(whole)
    assert reference.name == cut.name
    assert (reference / "weights.safetensors").read_bytes() == (
        cut / "weights.safetensors"
    ).read_bytes()


def test_a_row_that_fails_does_not_end_the_others(tmp_path, swept):
    cwd = shutil.copytree(swept, tmp_path / "copy")
    (bad,) = (f for f in of_table(cwd) if channels(f) == 16)
    (late,) = (f for f in of_table(cwd) if channels(f) == 48)
    shutil.rmtree(late)
    shutil.rmtree(bad)
    bad.write_text("in the way")
    failed = run("train", *TABLE_1, cwd=cwd, ok=False)
    assert failed.returncode == 1
    assert (late / EVALUATED).is_file()
    assert "Not done: table1 row 2" in failed.stdout
    assert "a run folder cannot be made there" in failed.stdout
    bad.unlink()
    run("train", *TABLE_1, cwd=cwd)
    assert (bad / EVALUATED).is_file()


def test_two_sweeps_at_once_train_each_row_once(tmp_path, swept):
    cwd = tmp_path / "two"
    cwd.mkdir()
    shutil.copytree(swept / "data", cwd / "data")
    command = [sys.executable, str(ROOT / "src/train.py"), *TABLE_1]
    sweeps = [
        subprocess.Popen(
            command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    said = [sweep.communicate()[0].decode() for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], said
    folders = of_table(cwd)
    assert len(folders) == 5
    for folder in folders:
        assert len(json.loads((folder / "run.json").read_text())["starts"]) == 1
    run("train", *TABLE_1, cwd=cwd)
    assert all((folder / EVALUATED).is_file() for folder in folders)


def test_rows_that_start_from_another_training(tmp_path):
    done = run("train", "-m", "ablation=table5", "profile=quick", *SMALL, cwd=tmp_path)
    assert "7 distinct trainings, 5 of them to run" in done.stdout  # JFT-300M: nobody has it
    folders = {f: json.loads((f / "run.json").read_text()) for f in of_table(tmp_path)}
    assert len(folders) == 5
    ((after, record),) = ((f, r) for f, r in folders.items() if r["start_weights"])
    start = yaml.safe_load((after / "config.yaml").read_text())["init_from"]
    (before,) = (f for f in folders if f.name == start.rsplit("/", 1)[1])
    assert (
        json.loads((before / "metrics.json").read_text())["weights_sha256"]
        == (record["start_weights"])
    )
    assert not (before / "evaluations").exists()  # no row is scored on it
    evaluated = {p.parent.name for p in after.glob("evaluations/*/result.json")}
    assert evaluated == {f"val-weights-os{s}" for s in ("16", "16-ms-flip", "8", "8-ms-flip")}
    again = run("train", "-m", "ablation=table5", "profile=quick", *SMALL, cwd=tmp_path)
    assert "7 distinct trainings, 0 of them to run" in again.stdout
