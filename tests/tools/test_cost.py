"""Parameters and multiply-adds against published counts, and the script that prints them."""

import json
import re
from contextlib import suppress

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from deeplab.config.parsing import parse
from deeplab.config.schema.scripts import CostConfig
from deeplab.inference.speed import Speed
from deeplab.inference.strategy import parse_strategy
from deeplab.models.backbones import MobileNetV2, ResNet, Xception
from deeplab.models.flops import measure_cost, space_to_batch_size
from deeplab.models.layers import batch_norms
from deeplab.tools.cost import cost as cost_module
from deeplab.tracking.result import COST_LABEL, PAPER_COST_LABEL
from deeplab.utils.errors import UserError
from support.configs import compose_config
from support.networks import build, on_meta, tiny_model
from support.scripts import run


@pytest.mark.parametrize(
    ("head", "printed"),
    [
        ({"convs": ((3, 256),), "low_level_channels": 8}, 86.29),
        ({"convs": ((3, 256),), "low_level_channels": 64}, 88.68),
        ({"convs": ((3, 256),) * 3}, 107.63),
        ({"convs": ((3, 128),)}, 82.12),
        ({"convs": ((1, 256),)}, 77.64),
        ({"convs": ((3, 256),), "low_level": ("conv3", "conv2")}, 91.06),
    ],
)
def test_convolutions_of_tables_1_and_2(head, printed):
    model = on_meta(lambda: build(ResNet(101), **head))
    assert measure_cost(model).conv / 1e9 == pytest.approx(printed, abs=0.006)


@pytest.mark.parametrize(("strategy", "printed"), [("os16", 2.75), ("os8-ms-flip", 152.59)])
def test_multiply_adds_of_the_released_mobilenet(strategy, printed):
    """The counts are from the authors' list of checkpoints; the rule was inferred without them."""
    model = on_meta(lambda: build(MobileNetV2(), naive=True, atrous_rates=()))
    parsed = parse_strategy(strategy, output_stride=16)
    model.set_output_stride(parsed.output_stride)
    counted = measure_cost(model, scales=parsed.scales, flip=parsed.flip).paper / 1e9
    assert counted == pytest.approx(printed, rel=2e-3)


def test_multiply_adds_of_the_released_cityscapes_model():
    model = on_meta(lambda: build(Xception(65), separable=True, num_classes=19))
    counted = measure_cost(model, input_size=(1025, 2049)).paper / 1e9
    assert counted == pytest.approx(418.64, rel=1e-3)


@pytest.mark.parametrize(
    ("size", "dilation", "expected"),
    [(33, 2, 34), (33, 8, 40), (65, 36, 72), (17, 3, 18), (33, 1, 33)],
)
def test_space_to_batch_sizes(size, dilation, expected):
    assert space_to_batch_size(size, 3, dilation) == expected


def test_convolutions_against_an_independent_count():
    model = tiny_model().eval()
    total = 0

    def count(module, inputs, output):
        nonlocal total
        for i in range(output.shape[1]):
            total += output.shape[2] * output.shape[3] * module.weight[i].numel()

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d)]
    model(torch.zeros(1, 3, 65, 49, dtype=torch.uint8))
    for hook in hooks:
        hook.remove()
    assert measure_cost(model, input_size=(65, 49)).conv == total
    assert measure_cost(model, input_size=(65, 49), flip=True).conv == 2 * total


def test_counting_leaves_the_model_as_it_was():
    model = tiny_model().train()
    frozen = next(batch_norms(model)).eval()
    for size in ((65, 65), (0, 65)):
        with suppress(RuntimeError):  # there are no images without pixels
            measure_cost(model, input_size=size)
        assert model.training
        assert [m for m in model.modules() if not m.training] == [frozen]
        assert not any(m._forward_hooks for m in model.modules())


def test_script_json(tmp_path):
    printed = run(
        "cost",
        "backbone=xception",
        "decoder=full",
        "aspp=separable",
        "decoder.separable=true",
        "output_stride=16",
        "format=json",
        cwd=tmp_path,
    ).stdout
    report = json.loads(printed)
    assert report["parameters"] == {"trainable": 41_055_413, "with_bn_statistics": 41_258_213}
    assert report["multiply_adds"]["paper"] == pytest.approx(54.164e9, abs=1e6)
    assert report["multiply_adds"]["conv"] == pytest.approx(54.035e9, abs=1e6)


def test_script_strategy_and_table(tmp_path):
    printed = run(
        "cost",
        "backbone=resnet101",
        "decoder=naive",
        "output_stride=8",
        "scales=[0.5,0.75,1.0,1.25,1.5,1.75]",
        "flip=true",
        cwd=tmp_path,
    ).stdout
    assert "58,164,437" in printed
    assert "4,870.59" in printed
    assert "os8-ms-flip" in printed


def test_several_strategies_measured(tmp_path):
    printed = run(
        "cost", "data=shapes", "strategies=[single-scale,os8-flip]", "measure_speed=true",
        "input_size=65", "trainer.accelerator=cpu", "trainer.precision=32-true", "format=json",
        "trainer.num_threads=3", cwd=tmp_path,
    ).stdout  # fmt: skip
    report = json.loads(printed)
    first, second = report["strategies"]
    assert (first["name"], second["name"]) == ("os16", "os8-flip")
    assert second["multiply_adds"]["paper"] > 2 * first["multiply_adds"]["paper"]
    for row in (first, second):
        measured = row["measured"]
        assert measured["latency"] > 0
        assert measured["images_per_second"] == pytest.approx(1 / measured["latency"])
        assert measured["peak_memory_bytes"] > 1e6
        assert measured["precision"] == "32-true"
        assert measured["threads"] == 3


def test_counts_are_printed_before_measuring(monkeypatch, capsys):
    """The counts of an input that is too large for memory are still printed."""

    def out_of_memory(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(cost_module, "measure_speed", out_of_memory)
    keys = ("data=shapes", "measure_speed=true", "input_size=[65,97]", "trainer.accelerator=cpu")
    config = parse(CostConfig, OmegaConf.create(compose_config("cost", *keys)))
    with pytest.raises(UserError, match=r"input_size=\[65,97\].* needs more memory than there is"):
        cost_module.run_cost(config)
    printed = capsys.readouterr().out
    assert f"strategy  {COST_LABEL}  {PAPER_COST_LABEL}" in re.sub(" {2,}", "  ", printed)
    assert "data.name=shapes: 97 x 65 pixels, 7 classes)" in printed


def test_measured_table(monkeypatch, capsys):
    speed = Speed(0.1234, 8.126, batch=1, peak_memory_bytes=5_000_000)
    monkeypatch.setattr(cost_module, "measure_speed", lambda *_, **__: speed)
    keys = ("data=shapes", "measure_speed=true", "input_size=65", "trainer.accelerator=cpu")
    cost_module.run_cost(parse(CostConfig, OmegaConf.create(compose_config("cost", *keys))))
    counted, _, measured = capsys.readouterr().out.partition("65 x 65 pixels, 7 classes)")
    assert re.search(r"^os16 +[\d.]+ +[\d.]+$", counted, re.MULTILINE)
    assert "peak at one image" in measured
    assert measured.endswith("\n  os16: 123.4 ms/image, 8.13 images/s, 5 MB\n")


@pytest.mark.parametrize("argument", ["scales=[0.5,1]", "flip=true"])
def test_strategies_exclude_scales_and_flip(argument, tmp_path):
    done = run("cost", "data=shapes", "strategies=ms", argument, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "Leave out scales=... and flip=..." in done.stderr


@pytest.mark.parametrize("argument", ["scales=[0.5,0.5]", "scales=[0.01]"])
def test_invalid_scales_are_rejected(argument, tmp_path):
    done = run("cost", "data=shapes", argument, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert f"{argument}: scales must be different numbers from 0.1 to 8" in done.stderr
