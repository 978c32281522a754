"""Training and evaluation through the real entry points, in subprocesses."""

import csv
import json
import os
import re
import shutil
import signal
from importlib.metadata import version

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from deeplab.evaluation.evaluation_folder import read_evaluation
from deeplab.metrics.confusion_matrix import scores
from support import wandb_files
from support.browser import Page
from support.networks import equal_states
from support.processes import start_training, wait_for_step
from support.repository import ROOT
from support.scripts import CPU, SMALL, run, run_folders


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a small run; return the working folder and the run folder."""
    cwd = tmp_path_factory.mktemp("trained")
    run("train", *SMALL, cwd=cwd)
    (folder,) = run_folders(cwd)
    return cwd, folder


def test_files_of_a_run_folder(trained):
    _, folder = trained
    assert folder.name.startswith("shapes-resnet_tiny-aspp_tiny-decoder_tiny-os16-seed0-")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["stage"]["max_steps"] == 2
    assert config["resume"] is None
    assert config["stage"]["weight_decay"] == config["backbone"]["weight_decay"]  # resolved
    record = json.loads((folder / "run.json").read_text())
    assert "deeplab train" in record["sessions"][0]["command"]
    (session,) = record["sessions"]
    assert session["versions"]["torch"] == version("torch")
    assert session["machine"]["precision"] == "32-true"
    assert session["from_step"] == 0
    result = json.loads((folder / "metrics.json").read_text())
    assert result["unit"] == "percent"
    assert 0 <= result["mIoU"] <= 100
    assert list(result["class_IoU"]) == config["data"]["classes"]
    assert result["protocol"]["split"] == "val"
    assert result["protocol"]["images"] == 3
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val/mIoU"]) == pytest.approx(result["mIoU"], abs=1e-6)
    assert rows[-1]["step"] == "2"
    assert Image.open(folder / "validation.png").width > 500
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=False)["state_dict"]
    weights = load_file(folder / "weights.safetensors")
    assert all(torch.equal(weights[name], last[f"model.{name}"]) for name in weights)
    assert not list(folder.rglob(".*"))  # no partly written files
    page = Page((folder / "index.html").read_text())
    files = page.check_links(folder)
    assert {"curves.png", "confusion.png", "validation.png", "worst.png"} <= set(files)
    assert f"mIoU {result['mIoU']:.2f} % after 2 steps" in page.text
    assert "stage.max_steps" in page.text


def test_the_same_command_finds_the_run_finished(trained):
    cwd, folder = trained
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    printed = run("train", *SMALL, cwd=cwd).stdout
    assert "finished" in printed
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    assert run_folders(cwd) == [folder]


def read_results(folder):
    return {
        p.parent.name: json.loads(p.read_text()) for p in folder.glob("evaluations/*/result.json")
    }


def test_evaluate_under_several_strategies(tmp_path, trained):
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    training_result = json.loads((folder / "metrics.json").read_text())
    strategies = "strategies=[single-scale,os8,os16-ms-flip]"
    printed = run("evaluate", f"run={folder}", strategies, *CPU, cwd=cwd).stdout
    assert "os16-ms-flip" in printed
    assert "boundary IoU" in printed
    results = read_results(folder)
    assert set(results) == {f"val-weights-{s}" for s in ("os16", "os8", "os16-ms-flip")}
    same = results["val-weights-os16"]
    assert same["mIoU"] == pytest.approx(training_result["mIoU"], abs=0.1)  # batch norms are folded
    assert same["protocol"] == training_result["protocol"] | {"bands": "void"}
    assert same["weights_sha256"] == training_result["weights_sha256"]
    assert results["val-weights-os8"]["protocol"]["strategy"]["output_stride"] == 8
    assert same["commit"]
    assert same["versions"]["torch"] == version("torch")
    assert same["machine"]["precision"] == "32-true"
    for name, result in results.items():
        stored = read_evaluation(folder / "evaluations" / name)
        assert 100 * scores(stored.confusions.total).miou == pytest.approx(result["mIoU"])
        for image_id in stored.ids:
            label = Image.open(stored.folder.prediction(image_id))
            assert label.mode == "P"
            assert label.size == Image.open(next((cwd / "data").rglob(f"{image_id}.*"))).size
        assert stored.folder.boundary_png.is_file()
        bands = list(csv.DictReader(stored.folder.boundary_csv.open()))
        assert [float(b["width"]) for b in bands] == result["band_widths"]


def test_finished_evaluations_are_not_repeated(tmp_path, trained):
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    run("evaluate", f"run={folder}", "strategies=single-scale", *CPU, cwd=cwd)
    (path,) = folder.glob("evaluations/*/result.json")
    before = path.stat().st_mtime_ns
    more = run("evaluate", f"run={folder}", "strategies=[single-scale,os8]", *CPU, cwd=cwd).stdout
    assert "1 of 2 existed already" in more
    assert path.stat().st_mtime_ns == before
    run(
        "evaluate",
        f"run={folder}",
        "strategies=single-scale",
        "trimap_widths=[3]",
        *CPU,
        cwd=cwd,
    )
    assert json.loads(path.read_text())["band_widths"] == [3]
    run(
        "evaluate",
        f"run={folder}",
        "strategies=single-scale",
        "trimap_widths=[3]",
        "overwrite=true",
        *CPU,
        cwd=cwd,
    )
    assert path.stat().st_mtime_ns > before


def test_a_failed_evaluation_keeps_the_earlier_one(tmp_path, trained):
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    scenes = shutil.copytree(next((cwd / "data/shapes").iterdir()), tmp_path / "scenes")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    voc = yaml.safe_load((ROOT / "conf/data/voc.yaml").read_text())
    keys = ("parts", "archives", "unpacked_gb", "expected_images")
    shapes_only = (
        "num_train",
        "num_val",
        "min_size",
        "max_size",
        "max_objects",
        "scene_seed",
        "class_shares",
    )
    data = {k: v for k, v in config["data"].items() if k not in shapes_only}
    data |= {"name": "voc", "root": str(scenes), **{key: voc[key] for key in keys}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"data": data}))
    run("evaluate", f"run={folder}", *CPU, cwd=tmp_path)
    (path,) = folder.glob("evaluations/*/result.json")
    before = path.read_bytes()
    image = sorted(scenes.rglob("*.jpg"))[-1]
    damaged = shutil.copytree(scenes, tmp_path / "damaged") / image.relative_to(scenes)
    damaged.write_bytes(image.read_bytes()[:500])
    failed = run("evaluate", f"run={folder}", f"data.root={tmp_path / 'damaged'}", *CPU,
                 cwd=tmp_path, ok=False)  # fmt: skip
    assert damaged.name in failed.stderr
    assert path.read_bytes() == before
    skipping = [f"data.root={tmp_path / 'damaged'}", "data.on_error=skip"]
    done = run("evaluate", f"run={folder}", *skipping, *CPU, cwd=tmp_path)
    assert "Skipped 1 bad file, 1 time" in done.stdout
    (kept,) = (p for p in folder.glob("evaluations/*/result.json") if p != path)
    assert kept.read_bytes() == before  # it was measured on other images
    assert str(kept.parent) in done.stdout


def test_a_checkpoint_by_its_relative_path(tmp_path, trained):
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "data").symlink_to(cwd / "data")
    for i, path in enumerate((f"{folder.name}/checkpoints/best.ckpt", "link/weights.safetensors")):
        run("evaluate", f"run={path}", *CPU, cwd=tmp_path)
        assert len(list(folder.glob("evaluations/*/result.json"))) == i + 1
    other = run("evaluate", f"run={folder}/metrics.csv", *CPU, cwd=tmp_path, ok=False)
    assert "this file holds no weights" in other.stderr


def test_an_image_that_is_listed_twice_is_refused(tmp_path, trained):
    cwd, folder = trained
    twice = run("evaluate", f"run={folder}", "split=val+val", *CPU, cwd=cwd, ok=False)
    assert "listed more than once" in twice.stderr


def test_evaluate_another_split_and_a_checkpoint_in_windows(tmp_path, trained):
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    last = f"run={folder}/checkpoints/last.ckpt"
    options = (
        "split=train",
        "output_stride=8",
        "window_size=49",
        "save_predictions=false",
        "measure_speed=true",
    )
    run("evaluate", last, *options, *CPU, cwd=cwd)
    ((name, result),) = read_results(folder).items()
    assert result["cost"]["measured"]["latency"] > 0
    assert name == "train-last-os8-w49"
    assert result["protocol"]["images"] == 8
    assert not (folder / "evaluations" / name / "predictions").exists()


def test_overwrite_moves_the_old_run_aside(tmp_path, trained):
    _, folder = trained
    arguments = (*SMALL, f"data.root={folder.parent.parent}/data/shapes")
    run("train", *arguments, cwd=tmp_path)
    run("train", *arguments, "overwrite=true", cwd=tmp_path)
    folders = run_folders(tmp_path)
    assert len(folders) == 2
    new, old = (load_file(f / "weights.safetensors") for f in folders)
    assert equal_states(new, old)  # equal bit for bit


FORTY_STEPS = (
    *(s for s in SMALL if "steps" not in s),
    "stage.max_steps=40",
    "trainer.log_every_n_steps=1",
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Train for forty steps; return the run folder and the override of its data folder.

    The images are read each time, those of the runs that are compared stay in memory.
    """
    cwd = tmp_path_factory.mktemp("uninterrupted")
    run("train", *FORTY_STEPS, f"data.root={cwd}/shapes", "data.memory_cache=0", cwd=cwd)
    (folder,) = run_folders(cwd)
    return folder, f"data.root={cwd}/shapes"


@pytest.mark.parametrize(
    ("stop_signal", "how"),
    [
        (signal.SIGKILL, "same command"),
        pytest.param(signal.SIGINT, "resume=", marks=pytest.mark.processes),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, uninterrupted, stop_signal, how):
    """Terminals and schedulers send a signal to all processes, those that load data too."""
    reference, data = uninterrupted
    process = start_training(*FORTY_STEPS, data, "trainer.num_workers=2", cwd=tmp_path)
    wait_for_step(tmp_path, 7, process)
    os.killpg(process.pid, stop_signal)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == (-stop_signal if stop_signal == signal.SIGKILL else 130)
    assert printed.count("Stopping after this step") == (stop_signal != signal.SIGKILL)
    assert "Traceback" not in printed
    (folder,) = run_folders(tmp_path)
    assert not (folder / "metrics.json").exists()
    same = [s for s in (*FORTY_STEPS, data) if "progress_bar" not in s]
    resumed = [f"resume={folder}", "logger=csv", "trainer.enable_progress_bar=true"]
    arguments = resumed if how == "resume=" else same
    printed = run("train", *arguments, cwd=tmp_path).stdout
    assert "from step" in printed
    assert "decoded training images stay in memory" in printed
    assert set(re.findall(r"Step \d+ of (\d+)", printed)) == {"40"}  # with the earlier steps
    assert "\r" not in printed  # no bar in a file
    assert reference.name == folder.name
    weights, expected = (load_file(f / "weights.safetensors") for f in (folder, reference))
    assert equal_states(weights, expected)
    assert (folder / "metrics.csv").read_bytes() == (reference / "metrics.csv").read_bytes()
    results = [json.loads((f / "metrics.json").read_text()) for f in (folder, reference)]
    assert results[0]["mIoU"] == results[1]["mIoU"]


def test_the_result_is_of_the_last_step(tmp_path, trained):
    """Also when validations and checkpoints do not fall on it."""
    cwd, _ = trained
    small = [s for s in SMALL if "steps" not in s]
    steps = ("stage.max_steps=7", "trainer.num_validations=2", "trainer.num_checkpoints=2")
    run("train", *small, *steps, f"data.root={cwd}/data/shapes", cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    result = json.loads((folder / "metrics.json").read_text())
    with (folder / "metrics.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["val/mIoU"]]
    assert [r["step"] for r in rows] == ["4", "7"]
    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=False)
    assert last["global_step"] == 7
    run("evaluate", f"run={folder}", *CPU, cwd=tmp_path)
    evaluated = json.loads((folder / "evaluations/val-weights-os16/result.json").read_text())
    assert evaluated["mIoU"] == result["mIoU"]


@pytest.mark.processes
def test_every_job_of_a_sweep_has_a_separate_wandb_run(tmp_path, trained):
    cwd, _ = trained
    small = [s for s in SMALL if not s.startswith("logger")]  # wandb is the default
    data = f"data.root={cwd}/data/shapes"
    swept = run("train", "-m", *small, data, "seed=0,1", cwd=tmp_path).stdout
    assert swept.count("wandb sync") == 1
    assert swept.endswith("wandb sync runs/*/wandb/offline-run-*\n")
    folders = run_folders(tmp_path)
    assert len(folders) == 2
    ids = set()
    for folder in folders:
        # parts of one run: the training and its evaluation
        (stem,) = {file.stem for file in folder.glob("wandb/offline-run-*/run-*.wandb")}
        ids.add(stem)
        assert stem == "run-" + json.loads((folder / "run.json").read_text())["wandb_id"]
        assert (folder / "metrics.csv").exists()
        assert list(folder.glob("wandb/offline-run-*/files/media/images/examples/*.png"))
    assert len(ids) == 2
    folder = folders[0]
    training_parts = {path.parent for path in folder.glob("wandb/*/run-*.wandb")}
    done = read_results(folder)  # those of the sweep
    printed = run("evaluate", f"run={folder}", "strategies=x1+0.5-flip", *CPU, cwd=tmp_path)
    assert f"wandb sync {folder}/wandb/offline-run-*" in printed.stdout
    (file,) = (f for f in folder.glob("wandb/*/run-*.wandb") if f.parent not in training_parts)
    assert file.stem == "run-" + json.loads((folder / "run.json").read_text())["wandb_id"]
    values = wandb_files.summary(file)
    ((name, result),) = (item for item in read_results(folder).items() if item[0] not in done)
    assert float(values[f"evaluation/{name}/mIoU"]) == pytest.approx(result["mIoU"])
    for key in ("classes", "bands", "examples", "boundary_curve"):
        path = json.loads(values[f"evaluation/{name}/{key}/path"])
        assert (file.parent / "files" / path).is_file()
    assert values["evaluations/nrows"] == str(len(done) + 1)


def test_two_processes_are_one_run(tmp_path, trained):
    """Each validation image counts once, and a training batch is split between the processes."""
    cwd, folder = trained
    arguments = (*SMALL, f"data.root={cwd}/data/shapes", "trainer.devices=2")
    printed = run("train", *arguments, cwd=tmp_path).stdout
    (both,) = run_folders(tmp_path)
    assert both.name == folder.name
    result = json.loads((both / "metrics.json").read_text())
    assert result["protocol"]["images"] == 3
    assert printed.count("Run folder:") == 1
    run("evaluate", f"run={both}", *CPU, cwd=tmp_path)
    one_process = json.loads((both / "evaluations/val-weights-os16/result.json").read_text())
    assert one_process["class_IoU"] == result["class_IoU"]
    repeated = run("train", *arguments, cwd=tmp_path)
    assert repeated.stdout.count("finished") == 1


def test_a_damaged_checkpoint_is_named(tmp_path, trained):
    cwd, folder = trained
    damaged = tmp_path / "runs" / folder.name
    shutil.copytree(folder, damaged)
    (damaged / "metrics.json").unlink()
    (damaged / "checkpoints/last.ckpt").write_bytes(b"")
    arguments = (*SMALL, f"data.root={cwd}/data/shapes")
    done = run("train", *arguments, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "last.ckpt: cannot be read" in done.stderr
    assert "overwrite=true" in done.stderr
    assert "Traceback" not in done.stderr
    (damaged / "checkpoints/best.ckpt").unlink()
    (damaged / "checkpoints/best.ckpt").symlink_to("best.ckpt")
    source = f"init_from={damaged}/checkpoints/best.ckpt"
    done = run("train", *arguments, source, cwd=tmp_path, ok=False)
    assert done.stderr.startswith("Error: ")
    assert done.stderr.endswith("best.ckpt: this link leads to itself. Remove it.\n")


def test_a_renamed_run_is_not_resumed_as_another(tmp_path, trained):
    cwd, folder = trained
    renamed = tmp_path / "renamed-run"
    shutil.copytree(folder, renamed)
    done = run("train", f"resume={renamed}", f"data.root={cwd}/data/shapes", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "or the folder renamed" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["renamed-run"]


def test_tensorboard(tmp_path, trained):
    pytest.importorskip("tensorboard")
    cwd, _ = trained
    run("train", *SMALL, f"data.root={cwd}/data/shapes", "logger=tensorboard", cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    (events,) = folder.glob("tensorboard/events*")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(events))
    accumulator.Reload()
    tags = accumulator.Tags()
    assert {"val/mIoU", "val/IoU/disc", "train/lr"} <= set(tags["scalars"])
    assert set(tags["images"]) == {"confusion_matrix", "validation"}


def test_the_recipe_initializes_the_logits(tmp_path, trained):
    """From 64 channels to 7 classes; a step with a tiny learning rate leaves them as they are."""
    cwd, _ = trained
    overrides = ("stage.logits_init=xavier", "stage.lr=1e-12", f"data.root={cwd}/data/shapes")
    run("train", *SMALL, *overrides, cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    weight = load_file(folder / "weights.safetensors")["logits.weight"]
    assert weight.std() == pytest.approx((2 / 71) ** 0.5, rel=0.1)
