"""Sweeps over ablation tables through the real script: nothing twice, nothing lost."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from deeplab.ablations.tables import read_preset
from deeplab.config.paths import ROOT
from support.pairs import write_pairs
from support.scripts import SMALL, environment, run, run_folders

pytestmark = pytest.mark.processes

STEPS = ("stage.max_steps=20", "trainer.num_checkpoints=20", "trainer.num_validations=1")
"""A checkpoint a step, so that a run can be cut anywhere."""

TABLE_1 = ("-m", "ablation=table1", "preset=quick", *SMALL, *STEPS)
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
    done = run("train", *TABLE_1, "hydra.sweeper.max_batch_size=2", cwd=cwd)
    assert "5 distinct trainings, 5 of them to run" in done.stdout
    assert re.findall(r"Launching (\d) jobs", done.stdout) == ["2", "2", "1"]
    return cwd


def test_every_row_is_trained_and_evaluated(swept):
    folders = of_table(swept)
    assert sorted(map(channels, folders)) == [8, 16, 32, 48, 64]
    for folder in folders:
        assert json.loads((folder / EVALUATED).read_text())["weights"] == "weights.safetensors"
        assert len(json.loads((folder / "run.json").read_text())["sessions"]) == 1
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
    run("train", *by_hand, *read_preset("quick").train, *SMALL, *STEPS, cwd=cwd)
    assert lost.is_dir()
    before = stamps([lost])
    plan = ("plan", "ablation=table1", "probe=false", *SMALL, *STEPS)
    planned = run("ablations", *plan, cwd=cwd).stdout
    assert "trained, not evaluated in all ways" in planned
    assert "5 distinct trainings: 4 done, 1 to run" in planned
    run("train", *TABLE_1, cwd=cwd)
    assert (lost / EVALUATED).is_file()
    after = stamps([lost])
    assert all(after[path] == written for path, written in before.items())  # trained once


def without(swept, cwd, *rows):
    """A copy of the sweep in which rows, by their channels, are missing; their folders."""
    shutil.copytree(swept, cwd)
    lost = [folder for folder in of_table(cwd) if channels(folder) in rows]
    for folder in lost:
        shutil.rmtree(folder)
    return lost


def test_a_killed_sweep_goes_on(tmp_path, swept):
    """The run that was cut ends with the weights of one that was not."""
    cwd = tmp_path / "cut"
    lost = without(swept, cwd, 16, 48)
    before = stamps(of_table(cwd))
    command = [sys.executable, str(ROOT / "src/train.py"), *TABLE_1]
    sweep = subprocess.Popen(command, cwd=cwd, env=environment(), start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if any((folder / "checkpoints/last.ckpt").is_file() for folder in lost):
            break
        time.sleep(0.001)
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    (cut,) = (folder for folder in lost if folder.exists())
    assert not (cut / "metrics.json").exists()
    plan = ("plan", "ablation=table1", "probe=false", *SMALL, *STEPS)
    planned = run("ablations", *plan, cwd=cwd).stdout
    assert "interrupted at step" in planned
    assert "3 done, 2 to run" in planned
    run("train", *TABLE_1, cwd=cwd)
    assert {path: before.get(path) for path in stamps(of_table(cwd)) if path in before} == before
    starts = json.loads((cut / "run.json").read_text())["sessions"]
    assert [start["from_step"] > 0 for start in starts] == [False, True]
    for folder in lost:
        whole = swept / folder.relative_to(cwd)
        for name in ("weights.safetensors", "evaluations/val-weights-os16/images.npz"):
            assert (folder / name).read_bytes() == (whole / name).read_bytes()


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
    assert "cannot create a run folder there" in failed.stdout
    bad.unlink()
    run("train", *TABLE_1, cwd=cwd)
    assert (bad / EVALUATED).is_file()


def test_two_sweeps_at_once_train_each_row_once(tmp_path, swept):
    cwd = tmp_path / "two"
    lost = without(swept, cwd, 8, 32, 64)
    command = [sys.executable, str(ROOT / "src/train.py"), *TABLE_1]
    sweeps = [
        subprocess.Popen(
            command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    said = [sweep.communicate()[0].decode() for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], said
    for folder in lost:
        assert len(json.loads((folder / "run.json").read_text())["sessions"]) == 1
        assert (folder / EVALUATED).is_file()


def test_rows_that_start_from_another_training(tmp_path):
    done = run("train", "-m", "ablation=table5", "preset=quick", *SMALL, cwd=tmp_path)
    assert "7 distinct trainings, 5 of them to run" in done.stdout  # JFT-300M: nobody has it
    folders = {f: json.loads((f / "run.json").read_text()) for f in of_table(tmp_path)}
    assert len(folders) == 5
    ((after, record),) = ((f, r) for f, r in folders.items() if r["init_weights_sha256"])
    start = yaml.safe_load((after / "config.yaml").read_text())["init_from"]
    (before,) = (f for f in folders if f.name == start.rsplit("/", 1)[1])
    assert (
        json.loads((before / "metrics.json").read_text())["weights_sha256"]
        == (record["init_weights_sha256"])
    )
    assert not (before / "evaluations").exists()  # no row is scored on it
    evaluated = {p.parent.name for p in after.glob("evaluations/*/result.json")}
    assert evaluated == {f"val-weights-os{s}" for s in ("16", "16-ms-flip", "8", "8-ms-flip")}


def test_images_of_ones_own_that_change(tmp_path):
    """Classes are found in the masks; a run on other images than there are now is stale."""
    table = tmp_path / "it's mine, größer.yaml"
    table.write_text(
        "title: mine\nsetting: my images\ncolumns: [decoder]\n"
        "train: [data=folder, data.root=mine, backbone=resnet_tiny, aspp=tiny, stage=shapes]\n"
        "rows:\n- {cells: [tiny], train: [decoder=tiny]}\n"
    )
    write_pairs(tmp_path / "mine", "train/{}.jpg", "train_labels/{}.png", ["a", "b", "c"])
    write_pairs(tmp_path / "mine", "val/{}.jpg", "val_labels/{}.png", ["d", "e"])
    small = [s for s in SMALL if not s.startswith("data.")]
    request = (
        f'ablation="{table}"',
        "preset=paper",
        "data.crop_size=33",
        "data.eval_size=65",
        *small,
    )
    assert "1 of them to run" in run("train", "-m", *request, cwd=tmp_path).stdout
    again = run("train", "-m", *request, cwd=tmp_path).stdout
    assert "1 distinct trainings, 0 of them to run" in again
    (first,) = (p.parent for p in tmp_path.glob("runs/*/run.json"))
    image = tmp_path / "mine/train/a.jpg"
    image.write_bytes(image.read_bytes() + b"\0")
    planned = run("ablations", "plan", "probe=false", *request, cwd=tmp_path).stdout
    assert f"stale, the images have changed since: runs/{first.name}" in planned
    assert "1 of them to run" in run("train", "-m", *request, cwd=tmp_path).stdout
    assert len(list(tmp_path.glob("runs/*/metrics.json"))) == 2
    assert "0 of them to run" in run("train", "-m", *request, cwd=tmp_path).stdout
