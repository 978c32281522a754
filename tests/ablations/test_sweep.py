"""Tests of sweeps over ablation tables by ``train.py -m``: no work is repeated or lost."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from deeplab.ablations.print_plan import _name_runs
from deeplab.ablations.tables import read_preset
from support.pairs import write_pairs
from support.repository import ROOT
from support.scripts import SMALL, environment, run, run_folders

pytestmark = pytest.mark.processes

STEPS = ("stage.max_steps=20", "trainer.num_checkpoints=20", "trainer.num_validations=1")
"""Overrides for a checkpoint at each step, so that a run can be killed anywhere."""

TABLE_1 = ("-m", "ablation=table1", "preset=quick", *SMALL, *STEPS)
RESULT = "evaluations/val-weights-os16/result.json"


def modification_times(folders):
    """Return the modification time of each JSON file of runs."""
    return {p: p.stat().st_mtime_ns for f in folders for p in f.rglob("*.json")}


def channels(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())["decoder"]["low_level_channels"]


def table_runs(cwd):
    """Return the run folders of a table's rows."""
    return [f for f in run_folders(cwd) if f.name.startswith("shapes-")]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Run Table 1 and return the working folder."""
    cwd = tmp_path_factory.mktemp("swept")
    done = run("train", *TABLE_1, "hydra.sweeper.max_batch_size=2", cwd=cwd)
    assert "5 distinct runs, 5 to run" in done.stdout
    assert re.findall(r"^Job (\d) of 5", done.stdout, re.MULTILINE) == list("12345")
    assert done.stdout.count("Weights: ") == 1  # what all jobs share is said once
    return cwd


def test_every_row_is_trained_and_evaluated(swept):
    folders = table_runs(swept)
    assert sorted(map(channels, folders)) == [8, 16, 32, 48, 64]
    for folder in folders:
        assert json.loads((folder / RESULT).read_text())["weights"] == "weights.safetensors"
        assert len(json.loads((folder / "run.json").read_text())["sessions"]) == 1
    assert (swept / "runs/ablations/quick/index.html").is_file()


def test_finished_runs_are_not_repeated(swept):
    before = modification_times(table_runs(swept))
    done = run("train", *TABLE_1, cwd=swept)
    assert "5 distinct runs, 0 to run" in done.stdout
    assert modification_times(table_runs(swept)) == before


def test_a_run_that_was_started_by_hand_fills_its_row(tmp_path, swept):
    cwd = shutil.copytree(swept, tmp_path / "copy")
    (folder,) = (f for f in table_runs(cwd) if channels(f) == 16)
    shutil.rmtree(folder)
    by_hand = ["data=shapes", "decoder.convs=[[3,64]]", "decoder.low_level_channels=16"]
    run("train", *by_hand, *read_preset("quick").train, *SMALL, *STEPS, cwd=cwd)
    assert folder.is_dir()
    before = modification_times([folder])
    plan = ("plan", "ablation=table1", *SMALL, *STEPS)
    planned = run("ablations", *plan, cwd=cwd).stdout
    assert "trained, but evaluations are missing" in planned
    assert "5 distinct runs: 4 done, 1 to run" in planned
    assert planned.count(" stage.max_steps=") == 1  # what all runs share is printed once
    assert planned.count("initial weights: random weights") == 1
    assert re.search(r"\n  R2 +decoder\.low_level_channels=16\n", planned), planned
    cost = re.search(r"run +multiply-adds +disk\nR\d +([\d.]+ T) +([\d.]+ kB)\nTotal: ", planned)
    assert cost, planned
    assert "{} multiply-adds, {} of disk space".format(*cost.groups()) in planned
    measured = run("ablations", *plan, "measure_speed=true", cwd=cwd).stdout
    assert re.search(r"disk +s per step +time\nR\d .*B +[\d.]+ +[\d.]+ (s|min)\nTotal: ", measured)
    assert "one run at a time on one device" in measured
    run("train", *TABLE_1, cwd=cwd)
    assert (folder / RESULT).is_file()
    after = modification_times([folder])
    assert all(after[path] == time for path, time in before.items())  # trained once


def test_a_plan_shortens_the_runs_of_seeds_that_follow_each_other():
    assert _name_runs(["R4", "R5", "R6"]) == "R4-R6"
    assert _name_runs(["R4", "R5"]) == "R4 R5"
    assert _name_runs(["R2", "R4", "R6"]) == "R2 R4 R6"  # each starts from another run
    assert _name_runs(["R7"]) == "R7"


def copy_without(swept, cwd, *rows):
    """Copy the sweep without some rows, given by their channels; return the removed folders."""
    shutil.copytree(swept, cwd)
    removed = [folder for folder in table_runs(cwd) if channels(folder) in rows]
    for folder in removed:
        shutil.rmtree(folder)
    return removed


def test_a_killed_sweep_resumes(tmp_path, swept):
    """The killed run ends with the same weights as an uninterrupted one."""
    cwd = tmp_path / "killed"
    removed = copy_without(swept, cwd, 16, 48)
    shutil.rmtree(cwd / "runs/ablations")
    before = modification_times(table_runs(cwd))
    command = [sys.executable, str(ROOT / "src/train.py"), *TABLE_1]
    sweep = subprocess.Popen(command, cwd=cwd, env=environment(), start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if any((folder / "checkpoints/last.ckpt").is_file() for folder in removed):
            break
        time.sleep(0.001)
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    (killed,) = (folder for folder in removed if folder.exists())
    assert not (killed / "metrics.json").exists()
    plan = ("plan", "ablation=table1", *SMALL, *STEPS)
    planned = run("ablations", *plan, cwd=cwd).stdout
    assert "interrupted after step" in planned
    assert "3 done, 2 to run" in planned
    reported = run("ablations", "report", cwd=cwd).stdout  # that of the killed sweep
    assert "Report: runs/ablations/quick/index.html" in reported
    assert [path.stem for path in cwd.glob("runs/ablations/quick/*.csv")] == ["table1"]
    run("train", *TABLE_1, cwd=cwd)
    after = modification_times(table_runs(cwd))
    assert {path: before.get(path) for path in after if path in before} == before
    sessions = json.loads((killed / "run.json").read_text())["sessions"]
    assert [session["from_step"] > 0 for session in sessions] == [False, True]
    for folder in removed:
        uninterrupted = swept / folder.relative_to(cwd)
        for name in ("weights.safetensors", "evaluations/val-weights-os16/images.npz"):
            assert (folder / name).read_bytes() == (uninterrupted / name).read_bytes()


def test_a_row_that_fails_does_not_stop_the_others(tmp_path, swept):
    cwd = shutil.copytree(swept, tmp_path / "copy")
    (failing,) = (f for f in table_runs(cwd) if channels(f) == 16)
    (later,) = (f for f in table_runs(cwd) if channels(f) == 48)
    shutil.rmtree(later)
    shutil.rmtree(failing)
    failing.write_text("a file in place of the run folder")
    done = run("train", *TABLE_1, cwd=cwd, ok=False)
    assert done.returncode == 2
    assert (later / RESULT).is_file()
    assert "Not done: table1 row 2" in done.stdout
    assert "cannot create a run folder there" in done.stdout
    failing.unlink()
    run("train", *TABLE_1, cwd=cwd)
    assert (failing / RESULT).is_file()


def test_two_concurrent_sweeps_train_each_row_once(tmp_path, swept):
    cwd = tmp_path / "two"
    removed = copy_without(swept, cwd, 8, 32)
    command = [sys.executable, str(ROOT / "src/train.py"), *TABLE_1]
    sweeps = [
        subprocess.Popen(
            command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    outputs = [sweep.communicate()[0].decode() for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], "\n".join(outputs)
    for folder in removed:
        assert len(json.loads((folder / "run.json").read_text())["sessions"]) == 1
        assert (folder / RESULT).is_file()


def test_rows_that_start_from_another_run(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "title: mine\nsetting: shapes\ncolumns: [start]\ntrain: [data=shapes]\n"
        "external_weights: {private: weights that nobody has}\n"
        "pretraining:\n"
        "  long: {train: [stage.lr=0.02]}\n"
        "  more: {train: [stage.lr=0.02], external_weights: private}\n"
        "rows:\n"
        "- {cells: [long], init_from: long, strategy: os16}\n"
        "- {cells: [long], init_from: long, strategy: os8-flip}\n"
        "- {cells: [more], init_from: more, strategy: os16}\n"
    )
    done = run("train", "-m", "ablation=mine.yaml", "preset=paper", *SMALL, cwd=tmp_path)
    assert "4 distinct runs, 2 to run" in done.stdout  # two need weights that nobody has
    records = {f: json.loads((f / "run.json").read_text()) for f in table_runs(tmp_path)}
    assert len(records) == 2
    ((second, record),) = ((f, r) for f, r in records.items() if r["init_weights_sha256"])
    init_from = yaml.safe_load((second / "config.yaml").read_text())["init_from"]
    (first,) = (f for f in records if f.name == init_from.rsplit("/", 1)[1])
    first_result = json.loads((first / "metrics.json").read_text())
    assert first_result["weights_sha256"] == record["init_weights_sha256"]
    assert not (first / "evaluations").exists()  # no row is scored on it
    evaluated = {p.parent.name for p in second.glob("evaluations/*/result.json")}
    assert evaluated == {"val-weights-os16", "val-weights-os8-flip"}


def test_a_run_on_images_that_have_changed_is_stale(tmp_path):
    """The images are the user's own, whose classes are found in the masks."""
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
    assert "1 to run" in run("train", "-m", *request, cwd=tmp_path).stdout
    repeated = run("train", "-m", *request, cwd=tmp_path).stdout
    assert "1 distinct run, 0 to run" in repeated
    (first,) = (p.parent for p in tmp_path.glob("runs/*/run.json"))
    image = tmp_path / "mine/train/a.jpg"
    image.write_bytes(image.read_bytes() + b"\0")
    planned = run("ablations", "plan", *request, cwd=tmp_path).stdout
    assert f"stale, because the images have changed: runs/{first.name}" in planned
    assert "1 to run" in run("train", "-m", *request, cwd=tmp_path).stdout
    assert len(list(tmp_path.glob("runs/*/metrics.json"))) == 2
    assert "0 to run" in run("train", "-m", *request, cwd=tmp_path).stdout
