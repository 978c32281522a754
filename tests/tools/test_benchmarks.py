"""Tests of the benchmarks: functions are timed in turn, and every script runs, with small sizes."""

import re
import time
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import save_file

from deeplab.models.backbones import MobileNetV2
from deeplab.tools.benchmarks import atrous, loss, pipeline, strategies
from deeplab.tools.benchmarks.learning import compare_learning
from deeplab.tools.benchmarks.timing import compare
from deeplab.utils.errors import UserError
from support.scripts import run


def test_functions_alternate_and_the_ratio_is_that_of_their_times(capsys):
    calls = []

    def work(name, seconds):
        calls.append(name)
        time.sleep(seconds)

    works = {"slow": partial(work, "slow", 0.06), "fast": partial(work, "fast", 0.02)}
    slow, fast = compare("sleeping", works, repeats=4)
    assert len(slow.times) == len(fast.times) == 4
    assert [name for name, before in zip(calls, ["", *calls], strict=False) if name != before] == [
        "slow",
        "fast",
    ] * 4
    printed = capsys.readouterr().out
    speedup = float(re.search(r"fast: (\S+) times as fast as slow", printed)[1])
    assert speedup == pytest.approx(slow.median / fast.median, abs=0.005)
    assert 1.2 < speedup < 4
    assert "sleeping" in printed
    assert f"{torch.get_num_threads()} threads" in printed


def test_loss(monkeypatch, capsys):
    for name, value in (("BATCH", 2), ("CLASSES", 3), ("SMALL", 9), ("LARGE", 33)):
        monkeypatch.setattr(loss, name, value)
    loss.compare_losses(repeats=1)
    assert capsys.readouterr().out.count("times as fast as plain") == 2


def test_atrous(monkeypatch, capsys):
    monkeypatch.setattr(atrous, "SHAPES", {"small": (16, 9, 2)})
    atrous.compare_atrous(repeats=1)
    assert capsys.readouterr().out.count("times as fast as PyTorch") == 2


@pytest.mark.processes
def test_pipeline(monkeypatch, capsys):
    pytest.importorskip("albumentations")
    for name, value in (("IMAGES", 4), ("BATCH", 2), ("CROP", 65)):
        monkeypatch.setattr(pipeline, name, value)
    threads = torch.get_num_threads()
    pipeline.compare_pipelines(repeats=1)
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert printed.count("times as fast as Pillow, stock albumentations, Normalize") == 3
    assert "decode the JPEG" in printed


def test_strategies(monkeypatch, capsys):
    monkeypatch.setattr(strategies, "NETWORKS", {"MobileNetV2": MobileNetV2})
    monkeypatch.setattr(strategies, "SIZE", (40, 50))
    monkeypatch.setattr(strategies, "PADDED", (65, 65))
    strategies.compare_strategies(repeats=1)
    assert "this project: " in capsys.readouterr().out


@pytest.mark.extras
def test_learning(tmp_path, capsys):
    """Both networks learn drawn scenes from the same weights, which smp's names fit."""
    import segmentation_models_pytorch as smp

    encoder = smp.encoders.get_encoder("mobilenet_v2", weights=None)
    save_file(encoder.state_dict(), tmp_path / "weights.safetensors")
    compare_learning(
        [
            *("data=shapes", "data.num_train=8", "data.num_val=4", "data.crop_size=65"),
            *("stage.max_steps=3", "stage.warmup_steps=1", "stage.batch_size=2"),
            *(f"backbone.pretrained={tmp_path}/weights.safetensors", "seed=3"),
        ],
        repeats=2,
    )
    printed = capsys.readouterr().out
    for seed in (3, 4):
        title = f"Seed {seed}: 8 training and 4 validation images; 3 steps of 2 crops of 65 pixels"
        assert title in printed
    scores = re.findall(r"(this project|smp): (\d+\.\d\d) mIoU after (\d) steps", printed)
    assert [(name, step) for name, _, step in scores] == 2 * [
        (name, step) for step in "123" for name in ("this project", "smp")
    ]
    rows = re.findall(
        r"(?m)^(this project|smp) +(\d\.\d\d) +(\d+\.\d{3})((?: +\d+\.\d\d ± \d+\.\d\d){3})$",
        printed,
    )
    assert [row[0] for row in rows] == ["this project", "smp"]
    ratio = float(re.search(r"this project: (\S+) times as fast as smp", printed)[1])
    assert ratio == pytest.approx(float(rows[1][2]) / float(rows[0][2]), rel=0.02)


@pytest.mark.skipif(find_spec("segmentation_models_pytorch") is not None, reason="smp is installed")
def test_learning_names_the_package_that_it_compares_with():
    with pytest.raises(UserError, match=r"segmentation_models_pytorch is not installed. Run pip"):
        compare_learning([], repeats=1)


def test_only_learning_takes_settings(tmp_path):
    done = run("benchmark", "loss", "data=voc", cwd=tmp_path, ok=False)
    assert "benchmark loss has no settings" in done.stderr
