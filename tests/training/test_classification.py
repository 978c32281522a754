"""Tests of classifiers through the real scripts."""

import csv
import json
import shutil
import signal

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from deeplab.checkpoints.loading import load_weights
from deeplab.config.compose import composed
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.evaluation.evaluate import run_evaluation
from deeplab.evaluation.evaluation_folder import read_evaluation
from deeplab.evaluation.loop import Progress
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.validate_config import check_train
from deeplab.utils.constants import CONSTANTS
from support.image_trees import csv_tree, folder_tree
from support.messages import check_refusal
from support.processes import start_training, wait_for_step
from support.scripts import CPU, run, run_folders

EXECUTION = (*CPU, "trainer.num_workers=0")
TINY = (
    "data=shape_classes",
    "data.num_train=12",
    "data.num_val=7",
    "data.min_size=40",
    "data.max_size=48",
    "data.crop_size=33",
    "data.eval_batch_size=2",
    "backbone.base_width=4",
    "stage.batch_size=2",
    "logger=csv",
    *EXECUTION,
)
"""Overrides for a classifier with training steps of some hundredths of a second."""

FOLDER_DATA = ("data=imagenet", "backbone=resnet_tiny", *TINY[5:], "stage.bn_momentum=0.1")


def result_of(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a classifier; return the working folder and the run folder."""
    cwd = tmp_path_factory.mktemp("classifier")
    run("train", *TINY, "stage.max_steps=4", "stage.dropout=0.5", cwd=cwd)
    (folder,) = run_folders(cwd)
    return cwd, folder


def test_run_folder_is_complete(trained):
    _, folder = trained
    assert folder.name.startswith("shape_classes-resnet_tiny-")
    assert "os16" not in folder.name
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert not {"aspp", "decoder", "output_stride"} & set(config)
    assert config["optimizer"]["nesterov"]
    result = result_of(folder)
    assert 0 <= result["top5_error"] <= result["top1_error"] <= 100
    protocol = result["protocol"]
    assert (protocol["split"], protocol["images"], protocol["precision"]) == ("val", 7, "32-true")
    assert protocol["crop"] == "central 87.5 % at 33 x 33"
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val/top1_error"]) == pytest.approx(result["top1_error"], abs=1e-6)
    assert Image.open(folder / "validation.png").width > 500
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    weights = load_file(folder / "weights.safetensors")
    assert weights["classifier.weight"].shape == (8, 128, 1, 1)
    assert {name.partition(".")[0] for name in weights} == {CONSTANTS, "backbone", "classifier"}


def test_same_command_reports_finished_run(trained):
    cwd, folder = trained
    done = run("train", *TINY, "stage.max_steps=4", "stage.dropout=0.5", cwd=cwd)
    assert "finished: top-1 error" in done.stdout
    assert run_folders(cwd) == [folder]


def test_evaluation_agrees_with_training_and_saves_ranks(tmp_path, trained):
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    run("evaluate", f"run={folder}", *EXECUTION[:2], "trainer.enable_progress_bar=false", cwd=cwd)
    evaluation = read_evaluation(folder / "evaluations/val-weights-single-scale")
    result = result_of(folder)
    assert evaluation.protocol.model_dump(exclude_unset=True, mode="json") == result["protocol"]
    assert evaluation.result.weights_sha256 == result["weights_sha256"]
    assert evaluation.folder.examples.is_file()
    assert len(evaluation.ids) == len(evaluation.ranks) == 7
    for k in (1, 5):
        error = 100 * np.mean(evaluation.ranks >= k)
        assert evaluation.result.value(f"top{k}_error") == pytest.approx(error)
        assert result[f"top{k}_error"] == pytest.approx(error)
    before = evaluation.folder.result.stat().st_mtime_ns
    repeated = run("evaluate", f"run={folder}", *EXECUTION[:2], cwd=cwd)
    assert "1 of 1 existed already" in repeated.stdout
    assert evaluation.folder.result.stat().st_mtime_ns == before
    best = run(
        "evaluate", f"run={folder}/checkpoints/best.ckpt", "split=train", *EXECUTION[:2], cwd=cwd
    )
    assert "train-best-single-scale" in best.stdout


def test_an_interrupted_evaluation_resumes(tmp_path, trained, monkeypatch, capsys):
    cwd, original = trained
    monkeypatch.chdir(cwd)
    folder = shutil.copytree(original, tmp_path / original.name)
    trainer = TrainerSettings(
        accelerator="cpu", precision="32-true", num_workers=0, enable_progress_bar=False
    )
    config = EvaluateConfig(run=str(folder), trainer=trainer)
    (expected,) = run_evaluation(config)
    ranks = read_evaluation(folder / "evaluations/val-weights-single-scale").ranks

    def interrupt(self, *image):
        add(self, *image)
        if len(self.done) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        add = Progress.add
        patch.setattr(Progress, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_evaluation(config.model_copy(update={"overwrite": True}))
    capsys.readouterr()
    (resumed,) = run_evaluation(config.model_copy(update={"overwrite": True}))
    assert "Resuming: 3 of 7 images" in capsys.readouterr().out
    assert resumed.scores == expected.scores
    evaluation = read_evaluation(folder / "evaluations/val-weights-single-scale")
    assert (evaluation.ranks == ranks).all()
    assert evaluation.folder.examples.is_file()


def test_saved_ranks_match_the_network(tmp_path, trained):
    """Compare with the ranks of a network that is built and run without the scripts."""
    from deeplab.data.classification.transforms import CentralCrop
    from deeplab.data.image_io import read_image
    from deeplab.models.backbones import ResNet
    from deeplab.models.classifier import Classifier

    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    run("evaluate", f"run={folder}", *EXECUTION[:2], cwd=cwd)
    evaluation = read_evaluation(folder / "evaluations/val-weights-single-scale")
    network = Classifier(ResNet((2, 2, 2, 2), base_width=4), num_classes=8).eval()
    load_weights(network, folder / "weights.safetensors")
    (root,) = (cwd / "data/shape_classes").iterdir()
    classes = sorted(p.name for p in (root / "train").iterdir())
    for name, rank in zip(evaluation.ids, evaluation.ranks, strict=True):
        crop = np.zeros((33, 33, 3), np.uint8)
        CentralCrop(size=33, crop_pct=0.875)(
            read_image(root / name), np.random.default_rng(0), crop
        )
        with torch.no_grad():
            logits = network(torch.from_numpy(crop).permute(2, 0, 1)[None])[0].numpy()
        truth = classes.index(name.split("/")[1])
        assert np.argsort(-logits, kind="stable").tolist().index(truth) == rank


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("predict", ["input=."], "this run is an image classifier"),
        ("gallery", [], "this run is an image classifier"),
        ("evaluate", ["strategies=[ms]"], "one crop. Set strategies=[single-scale]"),
        ("evaluate", ["output_stride=8"], "output_stride: this run is an image classifier"),
        ("evaluate", ["window_size=65"], "window_size: this run is an image classifier"),
    ],
)
def test_segmentation_scripts_reject_a_classifier(trained, script, arguments, message):
    cwd, folder = trained
    done = run(script, f"run={folder}", *arguments, cwd=cwd, ok=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_compare_refers_classifiers_to_sweeps(tmp_path, trained):
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    run("evaluate", f"run={folder}", *EXECUTION[:2], cwd=cwd)
    done = run("compare", f"runs=[{folder}]", cwd=tmp_path, ok=False)
    assert "is the evaluation of a classifier" in done.stderr
    assert "deeplab train -m" in done.stderr


def test_classifier_initializes_segmentation_network(tmp_path, trained):
    _, folder = trained
    weights = folder / "weights.safetensors"
    done = run(
        "train", "data=shapes", "data.num_train=4", "data.num_val=2", "data.min_size=48",
        "data.max_size=56", "data.crop_size=33", "data.eval_size=65", "backbone.base_width=4",
        "stage.max_steps=1", "stage.batch_size=2", "stage.lr=1e-12", "logger=csv", *EXECUTION,
        f"backbone.pretrained={weights}", cwd=tmp_path,
    )  # fmt: skip
    assert "classifier" in done.stdout  # reported as unused
    (segmentation,) = run_folders(tmp_path)
    loaded, source = load_file(segmentation / "weights.safetensors"), load_file(weights)
    for name in (n for n in source if n.startswith("backbone.") and "running" not in n):
        if "num_batches" not in name:
            torch.testing.assert_close(loaded[name], source[name])


def test_classifier_learns(tmp_path):
    """Train on three shapes of three hues: far below the chance error of two thirds in 80 steps."""
    run(
        "train", *TINY[5:], "data=shape_classes", "data.classes=[disc,cross,ring]",
        "data.num_train=240", "data.num_val=60", "data.min_size=40", "data.max_size=48",
        "data.crop_size=33", "backbone.base_width=8", "stage.batch_size=16", "stage.max_steps=80",
        "trainer.num_validations=1", "stage.bn_momentum=0.1", cwd=tmp_path,
    )  # fmt: skip
    (folder,) = run_folders(tmp_path)
    assert result_of(folder)["top1_error"] < 35


@pytest.mark.processes
def test_interrupted_run_resumes_to_the_same_result(tmp_path, trained):
    cwd, _ = trained
    overrides = (*TINY, "stage.max_steps=40", "stage.dropout=0.5", "trainer.log_every_n_steps=1")
    overrides = (*overrides, f"data.root={cwd}/data/shape_classes")
    (tmp_path / "uninterrupted").mkdir()
    run("train", *overrides, cwd=tmp_path / "uninterrupted")
    (reference,) = run_folders(tmp_path / "uninterrupted")
    interrupted = tmp_path / "interrupted"
    interrupted.mkdir()
    process = start_training(*overrides, cwd=interrupted)
    wait_for_step(interrupted, 7, process)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert "from step" in run("train", *overrides, cwd=interrupted).stdout
    (folder,) = run_folders(interrupted)
    assert folder.name == reference.name
    actual, expected = (load_file(f / "weights.safetensors") for f in (folder, reference))
    assert all(torch.equal(actual[name], expected[name]) for name in actual)
    assert result_of(folder)["top1_error"] == result_of(reference)["top1_error"]


def test_a_run_goes_on_without_the_weights_that_it_has_started_from(tmp_path, trained):
    folder = RunFolder(shutil.copytree(trained[1], tmp_path / "moved"))
    config = yaml.safe_load(folder.config.read_text())
    config["backbone"]["pretrained"] = "gone.safetensors"
    config["data"]["root"] = str(trained[0] / "data/shape_classes")
    folder.config.write_text(yaml.safe_dump(config))
    with composed("train", [f"resume={folder.path}"]) as typed:
        assert check_train(typed).backbone.pretrained == "gone.safetensors"


@pytest.mark.processes
def test_two_processes_count_each_image_once(tmp_path, trained):
    """Validate seven images on two processes: four and three."""
    cwd, folder = trained
    root = f"data.root={cwd}/data/shape_classes"
    run("train", *TINY, "stage.max_steps=4", "stage.dropout=0.5", root, "trainer.devices=2",
        cwd=tmp_path)  # fmt: skip
    (distributed,) = run_folders(tmp_path)
    assert distributed.name == folder.name
    run("evaluate", f"run={distributed}", *EXECUTION[:2], cwd=tmp_path)
    single = read_evaluation(distributed / "evaluations/val-weights-single-scale").result
    for key in ("top1_error", "top5_error"):
        assert result_of(distributed)[key] == pytest.approx(single.value(key))


def test_custom_image_folder_with_a_bad_file(tmp_path):
    root = folder_tree(tmp_path / "mine", {"train": 3, "val": 2})
    damaged = root / "train/bee/1.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    command = (*FOLDER_DATA, f"data.root={root}", "stage.max_steps=6")
    done = run("train", *command, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "train/bee/1.jpg: this JPEG is" in done.stderr
    done = run("train", *command, "data.on_error=skip", cwd=tmp_path)
    assert "Skipped 1 bad file" in done.stdout
    folder = run_folders(tmp_path)[-1]
    assert result_of(folder)["protocol"]["classes"] == ["ant", "bee", "cat"]


def test_stage_imagenet_has_the_papers_recipe_and_selects_its_data(tmp_path):
    root = folder_tree(tmp_path / "mine", {"train": 2, "val": 1})
    run(
        "train", "stage=imagenet", f"data.root={root}", "backbone=resnet_tiny",
        "backbone.base_width=4", "data.crop_size=65", "stage.max_steps=2", "stage.batch_size=3",
        "logger=csv", *EXECUTION, cwd=tmp_path,
    )  # fmt: skip
    (folder,) = run_folders(tmp_path)
    assert folder.name.startswith("imagenet-resnet_tiny-")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["optimizer"] == {"name": "sgd", "momentum": 0.9, "nesterov": True}
    assert config["lr_scheduler"] == {
        "name": "exponential", "decay_rate": 0.94, "decay_epochs": 2.0
    }  # fmt: skip
    expected = {"lr": 0.05, "weight_decay": 4e-5, "dropout": 0.5}
    assert {key: config["stage"][key] for key in expected} == expected


def test_multi_label_with_many_classes(tmp_path):
    """Train a head for 20,000 classes on images with one to three labels."""
    classes = ("ant", "bee", "cat", *(f"c{i}" for i in range(20_000)))
    labels = {"train": ["ant", "bee cat", "ant bee cat", "cat"], "val": ["ant cat", "bee"]}
    root = csv_tree(tmp_path / "mine", labels, classes)
    run("train", *FOLDER_DATA, f"data.root={root}", "data.labels=multi_label", "stage.max_steps=3",
        "stage.lr=0.001", "trainer.log_every_n_steps=1", cwd=tmp_path)  # fmt: skip
    (folder,) = run_folders(tmp_path)
    weights = load_file(folder / "weights.safetensors")
    assert len(weights["classifier.bias"]) == 20_003
    with (folder / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert losses[0] == pytest.approx(20_003 * np.log(2), rel=0.02)  # one binary loss per class
    assert losses[-1] < losses[0]
    assert result_of(folder)["protocol"]["images"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["stage=imagenet", "data=voc"],
            ["stage: this stage trains an image classifier", "data=voc has masks"],
        ),
        (["stage=voc", "data=imagenet"], ["a segmentation network", "stage=imagenet"]),
        (["stage=imagenet"], ["data.root=data/imagenet", "does not exist"]),
        (["data=shape_classes", "decoder=full"], ["decoder=full", "has no decoder"]),
        (["data=shape_classes", "output_stride=8"], ["output_stride=8", "has no output_stride"]),
        (["data=shape_classes", "init_from=runs/x"], ["init_from", "backbone.pretrained"]),
        (
            ["data=shape_classes", "loss=top_k"],
            ["loss=top_k: the loss of an image classifier follows from its labels"],
        ),
        (["data=shape_classes", "lr_scheduler.decay_rate=2.0"], ["decay_rate=2.0", "less than"]),
        (["data=shape_classes", "stage.dropout=1.0"], ["stage.dropout=1.0", "less than 1"]),
        (["data=shape_classes", "data.classes=[disc,blob]"], ["data.classes", "blob"]),
        (["data=shape_classes", "data.val_split=test"], ["data.val_split=test", "train and val"]),
        (["data=shape_classes", "data.crop_pct=0.0"], ["data.crop_pct=0.0", "greater than 0"]),
        (
            ["data=shape_classes", "strategies=[ms]"],
            ["'ms'", "central crop"],
        ),
        (["data=imagenet", "data.labels=some"], ["data.labels=some", "folders"]),
        (["data=shape_classes", "data.augmentations=[{Blurr: {}}]"], ["no such transform"]),
    ],
    ids=lambda x: " ".join(x),
)
def test_error_messages(arguments, words, tmp_path):
    check_refusal("train", arguments, words, tmp_path)


def test_doctor_decodes_every_image(tmp_path):
    root = folder_tree(tmp_path / "mine", {"train": 3, "val": 2})
    options = ("data=imagenet", f"data.root={root}", "num_workers=1", "enable_progress_bar=false")
    done = run("prepare", *options, "check=true", cwd=tmp_path)
    assert "15 images: nothing wrong" in done.stdout
    for name in ("train/bee/1.jpg", "val/cat/0.jpg"):
        (root / name).write_bytes((root / name).read_bytes()[:-200])
    done = run("prepare", *options, "check=true", cwd=tmp_path, ok=False)
    assert done.returncode == 1
    report = (tmp_path / "data/reports/imagenet-train-val.md").read_text()
    for text in (done.stdout, report):
        assert "15 images: 2 errors" in text
        assert "train/bee/1.jpg: this JPEG is" in text
        assert "val/cat/0.jpg: this JPEG is" in text


def test_cost_rejects_classifiers(tmp_path):
    done = run("cost", "data=imagenet", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: data: deeplab cost counts segmentation networks")


@pytest.mark.processes
def test_table_4_with_quick_preset(tmp_path):
    """Train, evaluate and report both rows."""
    overrides = [s for s in TINY[1:] if not s.startswith("backbone")]
    sweep = ("-m", "ablation=table4", *overrides, "stage.max_steps=4")
    done = run("train", *sweep, cwd=tmp_path)
    assert "2 distinct runs, 2 to run" in done.stdout
    folders = [f for f in run_folders(tmp_path) if f.name.startswith("shape_classes-")]
    with (tmp_path / "runs/ablations/quick/table4.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["ResNet-101", "Modified Xception"]
    for row, name in zip(rows, ("resnet_tiny", "xception_tiny"), strict=True):
        (folder,) = (f for f in folders if f"-{name}-" in f.name)
        evaluation = read_evaluation(folder / "evaluations/val-weights-single-scale")
        for k in (1, 5):
            expected = 100 * np.mean(evaluation.ranks >= k)
            assert float(row[f"top-{k} error here"]) == pytest.approx(expected)
    xception, resnet = (
        read_evaluation(
            next(f for f in folders if n in f.name) / "evaluations/val-weights-single-scale"
        )
        for n in ("xception_tiny", "resnet_tiny")
    )
    difference = 100 * (np.mean(xception.ranks >= 1) - np.mean(resnet.ranks >= 1))
    assert float(rows[1]["top-1 error vs. row 1"]) == pytest.approx(difference)
    assert "2 distinct runs, 0 to run" in run("train", *sweep, cwd=tmp_path).stdout
