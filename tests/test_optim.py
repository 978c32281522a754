import pytest
import torch
from torch import nn

from deeplab.backbones import MobileNetV2
from deeplab.training.optim import parameter_groups, poly
from networks import build, tiny_model


def test_every_parameter_is_in_one_group():
    model = build(MobileNetV2(0.25), separable=True, channels=8)
    groups = parameter_groups(model, lr=0.1, weight_decay=4e-5)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_weight_decay_falls_on_dense_and_pointwise_weights():
    model = build(MobileNetV2(0.25), separable=True, channels=8)
    decayed = {
        id(p)
        for group in parameter_groups(model, lr=0.1, weight_decay=4e-5)
        if group["weight_decay"] > 0
        for p in group["params"]
    }
    expected = {
        id(m.weight)
        for m in model.modules()
        if isinstance(m, nn.Conv2d)
        and m.weight.shape[1] * m.groups == m.in_channels
        and m.groups == 1
    }
    assert decayed == expected
    assert id(model.logits.bias) not in decayed


def test_multipliers():
    model = tiny_model()
    groups = {
        group["name"]: group["lr"]
        for group in parameter_groups(
            model, lr=0.1, weight_decay=0.0, backbone_multiplier=0.5, head_multiplier=10
        )
    }
    assert groups == {
        "backbone.weight": pytest.approx(0.05),
        "backbone.norm": pytest.approx(0.05),
        "head.weight": pytest.approx(1.0),
        "head.norm": pytest.approx(1.0),
        "head.bias": pytest.approx(2.0),
    }


def test_poly_is_the_papers_per_step():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.007)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, poly(steps=30_000))
    for step in range(1000):
        assert schedule.get_last_lr()[0] == pytest.approx(0.007 * (1 - step / 30_000) ** 0.9)
        optimiser.step()
        schedule.step()


def test_slow_start():
    factor = poly(steps=110, slow_start_steps=10, slow_start_factor=0.01)
    assert factor(0) == factor(9) == 0.01
    assert factor(10) == 1
    assert factor(60) == pytest.approx(0.5**0.9)
    assert factor(110) == 0
