import json

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from deeplab.config.parsing import parse
from deeplab.config.schema.scripts import CostConfig
from deeplab.inference.strategy import parse_strategy
from deeplab.models.backbones import MobileNetV2, ResNet, Xception
from deeplab.models.flops import measure_cost, space_to_batch_size
from deeplab.tools.cost import cost as cost_module
from deeplab.utils.errors import UserError
from support.configs import composed
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
    """From the authors' list of checkpoints; the rule was found without them."""
    model = on_meta(lambda: build(MobileNetV2(), naive=True, atrous_rates=()))
    looks = parse_strategy(strategy, output_stride=16)
    model.set_output_stride(looks.output_stride)
    counted = measure_cost(model, scales=looks.scales, flip=looks.flip).paper / 1e9
    assert counted == pytest.approx(printed, rel=2e-3)


def test_multiply_adds_of_the_released_cityscapes_model():
    model = on_meta(lambda: build(Xception(65), separable=True, num_classes=19))
    counted = measure_cost(model, input_size=(1025, 2049)).paper / 1e9
    assert counted == pytest.approx(418.64, rel=1e-3)


@pytest.mark.parametrize(
    ("side", "rate", "expected"), [(33, 2, 34), (33, 8, 40), (65, 36, 72), (17, 3, 18), (33, 1, 33)]
)
def test_space_to_batch_sides(side, rate, expected):
    assert space_to_batch_size(side, 3, rate) == expected


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
    measure_cost(model, input_size=(65, 65))
    assert model.training
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
        "cost", "data=shapes", "strategies=[single-scale,os8-flip]", "measure_speed=true", "input_size=65",
        "trainer.accelerator=cpu", "trainer.precision=32-true", "format=json", cwd=tmp_path,
    ).stdout  # fmt: skip
    report = json.loads(printed)
    one, other = report["strategies"]
    assert (one["name"], other["name"]) == ("os16", "os8-flip")
    assert other["multiply_adds"]["paper"] > 2 * one["multiply_adds"]["paper"]
    for row in (one, other):
        measured = row["measured"]
        assert measured["latency"] > 0
        assert measured["images_per_second"] == pytest.approx(1 / measured["latency"])
        assert measured["peak_memory_bytes"] > 1e6
        assert measured["precision"] == "32-true"


def test_counts_are_printed_before_measuring(monkeypatch, capsys):
    """An input that is too large for memory: its counts are there all the same."""

    def refused(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(cost_module, "measure_speed", refused)
    keys = ("data=shapes", "measure_speed=true", "input_size=[65,97]", "trainer.accelerator=cpu")
    config = parse(CostConfig, OmegaConf.create(composed("cost", *keys)))
    with pytest.raises(UserError, match=r"input_size=\[65,97\].* more memory than there is"):
        cost_module.run_cost(config)
    printed = capsys.readouterr().out
    assert "paper rule" in printed
    assert "(65 x 97, 7 classes)" in printed


@pytest.mark.parametrize("typed", ["scales=[0.5,1]", "flip=true"])
def test_what_strategies_would_leave_out(typed, tmp_path):
    done = run("cost", "data=shapes", "strategies=ms", typed, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "leave out scales and flip" in done.stderr


@pytest.mark.parametrize("typed", ["scales=[0.5,0.5]", "scales=[0.01]"])
def test_scales_that_strategies_do_not_have(typed, tmp_path):
    done = run("cost", "data=shapes", typed, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert f"{typed}: different numbers from 0.1 to 8" in done.stderr


def test_measured_table(tmp_path):
    printed = run(
        "cost", "data=shapes", "measure_speed=true", "input_size=65",
        "trainer.accelerator=cpu", "trainer.precision=32-true", cwd=tmp_path,
    ).stdout  # fmt: skip
    counted, _, measured = printed.partition("(65 x 65, 7 classes)")
    for part in (counted, measured):
        assert [line.split()[0] for line in part.splitlines() if line.startswith("os")] == ["os16"]
    assert "peak at one image" in measured
