"""Runs that start from another run's weights, and runs on data with bad files."""

import json
import re
import shutil

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from deeplab.checkpoints.pretrained import find_published_weights
from deeplab.config.schema.model import OwnBackboneSettings
from deeplab.data.class_set import voc_palette
from deeplab.models.backbones import ResNet
from deeplab.utils.errors import UserError
from support.networks import equal_states
from support.scripts import SMALL, run, run_folders
from support.trees import voc_tree

VOC = (
    "data=voc", "data.train_split=train", "backbone=resnet_tiny", "aspp=tiny", "decoder=tiny",
    "stage=shapes", *(s for s in SMALL if not s.startswith("data.")), "data.crop_size=33",
    "data.eval_size=65",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Train a run to its end; return the working folder."""
    cwd = tmp_path_factory.mktemp("finished")
    run("train", *SMALL, cwd=cwd)
    return cwd


@pytest.fixture
def first(finished, tmp_path):
    """Copy the finished run for one test; return its run folder."""
    shutil.copytree(finished / "runs", tmp_path / "runs")
    shutil.copytree(finished / "data", tmp_path / "data")
    (folder,) = run_folders(tmp_path)
    return folder


def truncate(path):
    path.write_bytes(path.read_bytes()[:-30])


def test_a_stage_starts_from_another(first, tmp_path):
    """The first stage has seven classes of shapes, the second VOC's 21 classes."""
    root = voc_tree(tmp_path / "voc", {"train": 4, "val": 2})
    arguments = [*VOC, f"data.root={root}", f"init_from={first}", "stage.lr=1e-9"]
    arguments += ["stage.batch_norm=frozen"]  # the final weights show the initial ones
    done = run("train", *arguments, cwd=tmp_path)
    assert f"Weights:    {first}/weights.safetensors\n            SHA-256 " in done.stdout
    assert "by this project's names; left out: logits (2); new: logits (2)" in done.stdout
    (second,) = [p for p in run_folders(tmp_path) if p != first]
    before, after = (load_file(p / "weights.safetensors") for p in (first, second))
    for name, tensor in after.items():
        same = tensor.shape == before[name].shape and torch.allclose(
            tensor, before[name], atol=1e-4
        )
        assert same != name.startswith("logits."), name
    record = json.loads((second / "run.json").read_text())
    assert len(record["init_weights_sha256"]) == 64
    assert "finished" in run("train", *arguments, cwd=tmp_path).stdout


def test_weights_of_another_network_leave_no_files(first, tmp_path):
    done = run("train", *SMALL, f"init_from={first}", "decoder=naive", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "weights of another network" in done.stderr
    assert "Traceback" not in done.stderr
    assert run_folders(tmp_path) == [first]


def test_a_backbone_starts_from_a_file(first, tmp_path):
    """The file is of a run with another decoder and input normalization, and may be moved."""
    file = first / "weights.safetensors"
    config = yaml.safe_load((first / "config.yaml").read_text())
    config["backbone"]["mean"] = [1.0, 2.0, 3.0]
    (first / "config.yaml").write_text(yaml.safe_dump(config))
    arguments = [*SMALL, "decoder=naive", "stage.batch_norm=frozen", "stage.lr=1e-9"]
    done = run("train", *arguments, f"backbone.pretrained={file}", cwd=tmp_path)
    assert "the backbone: 186 tensors by this project's names; left out: aspp (" in done.stdout
    (second,) = [p for p in run_folders(tmp_path) if p != first]
    before, after = (load_file(p / "weights.safetensors") for p in (first, second))
    same = {n for n, t in after.items() if n in before and torch.allclose(t, before[n], atol=1e-4)}
    assert {n for n in after if n.startswith("backbone.")} <= same
    assert "aspp.conv.conv.weight" not in same
    config = yaml.safe_load((second / "config.yaml").read_text())
    assert config["backbone"]["mean"] == [1.0, 2.0, 3.0]
    first.rename(first.with_name("moved"))
    moved = f"backbone.pretrained={first.with_name('moved') / file.name}"
    assert "finished" in run("train", *arguments, moved, cwd=tmp_path).stdout


def test_matching_weights_are_loaded_without_init_strict(first, tmp_path):
    arguments = [*SMALL, "decoder=naive", f"init_from={first}", "init_strict=false"]
    done = run("train", *arguments, cwd=tmp_path)
    assert re.search(r"loaded: \d+ tensors .* left out: decoder \(\d+\)", done.stdout)
    assert "; new: " not in done.stdout  # every tensor of the naive decoder's network matches


def test_stages_chain(tmp_path):
    """Each stage starts from the previous one's weights: ImageNet, COCO, trainaug, trainval."""
    root = voc_tree(tmp_path / "voc", {"train": 4, "trainval": 4, "val": 2})
    torch.manual_seed(1)
    tiny = {"bn_eps": 1e-5, "multi_grid": (1, 2, 4), "weight_init": "variance_scaling"}
    backbone = ResNet((2, 2, 2, 2), base_width=16, **tiny).state_dict()
    classifier = {"classifier.weight": torch.ones(1000, 512), "classifier.bias": torch.ones(1000)}
    state = {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    save_file(state | classifier, tmp_path / "classifier.safetensors")
    still = ("stage.lr=1e-9", "stage.batch_norm=frozen")
    voc = (*VOC, f"data.root={root}", *still)
    stages = [
        ([*SMALL, *still], "left out: classifier (2); new: aspp ("),
        ([*voc], "left out: logits (2); new: logits (2)"),
        ([*voc, "stage=voc_trainval", "data.train_split=trainval", "output_stride=8",
          "stage.max_steps=2", "stage.batch_size=2", "stage.lr=1e-9"], "names\n"),
    ]  # fmt: skip
    init, before, folders = tmp_path / "classifier.safetensors", state | classifier, set()
    for arguments, expected in stages:
        done = run("train", *arguments, f"init_from={init}", cwd=tmp_path)
        assert f"Weights:    {init}" in done.stdout
        assert expected in done.stdout
        (folder,) = set(run_folders(tmp_path)) - folders
        after = load_file(folder / "weights.safetensors")
        matching = {n for n, t in before.items() if n in after and t.shape == after[n].shape}
        assert {n for n in after if n.startswith("backbone.")} <= matching
        for name in matching:
            assert torch.allclose(after[name].float(), before[name].float(), atol=1e-4), name
        record = json.loads((folder / "run.json").read_text())
        assert record["init_source"].startswith(str(init))
        folders.add(folder)
        init, before = folder, after
    assert json.loads((folder / "metrics.json").read_text())["protocol"]["classes"]


class Harm:
    """Object whose unpickling runs code."""

    def __reduce__(self):
        return (print, ("harm",))


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (None, "weights.pth", "backbone.pretrained=weights.pth: no such file"),
        ({"conv1.weight": Harm()}, "weights.pth", "needs print, which is code"),
        ({"epoch": 3}, "weights.pth", "epoch is not a tensor"),
        ({"conv1.weight": torch.zeros(1)}, "weights.txt", "files end in"),
        ({"conv1.weight": torch.zeros(1)}, "weights.pth", "backbone=resnet101_torchvision"),
        (
            {"units.0.x": torch.zeros(1)},
            "weights.pth",
            "not weights of this backbone by this project's names",
        ),
    ],
)
def test_files_that_are_not_backbone_weights(content, name, words, tmp_path):
    if content is not None:
        torch.save(content, tmp_path / name)
    done = run("train", *SMALL, f"backbone.pretrained={name}", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "harm" not in done.stdout
    assert not (tmp_path / "runs").exists()


def test_a_bad_file_stops_the_run_or_is_skipped_and_counted(tmp_path):
    root = voc_tree(tmp_path / "voc", {"train": 20, "val": 3})
    bad = [root / "JPEGImages" / f"{name}.jpg" for name in ("train_1", "val_1")]
    for path in bad:
        truncate(path)
    arguments = [*VOC, f"data.root={root}", "stage.max_steps=10", "trainer.num_validations=1"]
    arguments += ["trainer.num_workers=1"]
    done = run("train", *arguments, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {bad[0]}: this JPEG is truncated"), done.stderr
    assert "Traceback" not in done.stderr
    done = run("train", *arguments, "data.on_error=skip", cwd=tmp_path)
    assert "Skipped 2 bad files, 2 times" in done.stdout
    (folder,) = run_folders(tmp_path)
    result = json.loads((folder / "metrics.json").read_text())
    assert result["skipped_files"] == {str(path): 1 for path in bad}


def test_weight_files_hold_classes_and_colors(first):
    checkpoint = torch.load(first / "checkpoints" / "last.ckpt", weights_only=True)
    with safe_open(first / "weights.safetensors", "pt") as file:
        classes = json.loads(file.metadata()["classes"])
    assert checkpoint["classes"] == classes
    assert classes["names"][:2] == ["background", "disc"]
    assert classes["palette"] == voc_palette()[:7].tolist()


def test_the_cache_does_not_change_a_run(first, tmp_path):
    uncached = load_file(first / "weights.safetensors")
    run("train", *SMALL, "data.cache_dir=cache", "overwrite=true", cwd=tmp_path)
    assert list((tmp_path / "cache").iterdir())
    cached = load_file(first / "weights.safetensors")
    assert equal_states(uncached, cached)


@pytest.mark.parametrize("depth", [101, [2, 2, 2], None])
def test_an_argument_of_an_own_backbone_is_no_key_of_a_resnet(depth):
    paper = {"layout": "beta", "base_width": 64, "stem": "3x3x3"}
    backbone = OwnBackboneSettings(_target_="mine.Stride2", depth=depth, **paper)
    with pytest.raises(UserError, match=r"no published weights of this backbone") as error:
        find_published_weights(backbone)
    assert "the authors' weights are a TensorFlow checkpoint" not in str(error.value)
