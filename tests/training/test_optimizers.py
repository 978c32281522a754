"""Tests of parameter groups, optimizers and learning rate schedules."""

import math

import pytest
import torch
from torch import nn

from deeplab.config.schema.lr_scheduler import ExponentialSettings
from deeplab.config.schema.optimizer import AdamWSettings, SGDSettings
from deeplab.config.schema.stage import Recipe
from deeplab.models.backbones import MobileNetV2
from deeplab.training.lr_schedules import build_schedule, cosine, exponential, poly, warmup
from deeplab.training.optimizers import build_optimizer, parameter_groups
from support.networks import build, tiny_model


def test_every_parameter_is_in_one_group():
    model = build(MobileNetV2(0.25), separable=True, channels=8)
    groups = parameter_groups(model, Recipe(lr=0.1))
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_weight_decay_applies_to_dense_and_pointwise_weights():
    model = build(MobileNetV2(0.25), separable=True, channels=8)
    decayed = {
        id(p)
        for group in parameter_groups(model, Recipe(lr=0.1))
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
            model, Recipe(lr=0.1, weight_decay=0.0, backbone_lr_mult=0.5, head_lr_mult=10.0)
        )
    }
    assert groups == {
        "backbone.weight": pytest.approx(0.05),
        "backbone.norm": pytest.approx(0.05),
        "head.weight": pytest.approx(1.0),
        "head.norm": pytest.approx(1.0),
        "head.bias": pytest.approx(2.0),
    }


def test_poly_matches_the_paper_at_every_step():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.007)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, poly(steps=30_000, power=0.9))
    for step in range(1000):
        assert scheduler.get_last_lr()[0] == pytest.approx(0.007 * (1 - step / 30_000) ** 0.9)
        optimizer.step()
        scheduler.step()


def test_cosine_is_half_a_wave():
    factor = cosine(steps=80)
    assert [factor(step) for step in (0, 40, 80, 81)] == pytest.approx([1, 0.5, 0, 0])
    assert factor(20) == pytest.approx(0.5 + 0.5 * math.sqrt(0.5))


def test_constant_warmup():
    factor = warmup(poly(steps=100, power=0.9), steps=10, factor=0.01)
    assert factor(0) == factor(9) == 0.01
    assert factor(10) == 1
    assert factor(60) == pytest.approx(0.5**0.9)
    assert factor(110) == 0


@pytest.mark.parametrize("schedule", [poly(steps=100, power=1.0), cosine(steps=100)])
def test_linear_warmup_ends_at_the_start_of_the_schedule(schedule):
    factor = warmup(schedule, steps=10, factor=0.01, linear=True)
    assert [factor(s) for s in range(11)] == pytest.approx([0.01 + 0.099 * s for s in range(11)])
    assert factor(60) == pytest.approx(0.5)
    assert factor(110) == pytest.approx(0)


def test_adamw_decays_weights_at_the_learning_rate_of_their_group():
    """Compare one step with its closed form: the ratio of the moments is the gradient's sign."""
    model = tiny_model()
    recipe = Recipe(lr=0.01, weight_decay=0.5, head_lr_mult=10.0)
    groups = parameter_groups(model, recipe)
    before = {id(p): p.detach().clone() for p in model.parameters()}
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    build_optimizer(groups, AdamWSettings(betas=(0.9, 0.99))).step()
    for name, lr, decay in [
        ("backbone.weight", 0.01, 0.5),
        ("backbone.norm", 0.01, 0),
        ("head.weight", 0.1, 0.5),
        ("head.norm", 0.1, 0),
        ("head.bias", 0.2, 0),
    ]:
        (group,) = (g for g in groups if g["name"] == name)
        for parameter in group["params"]:
            expected = before[id(parameter)] * (1 - lr * decay) - lr * parameter.grad.sign()
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-3, atol=1e-4)


def test_betas_reach_the_optimizer():
    """Compare three steps on one tensor with torch's optimizer."""
    actual, expected = (torch.ones(3, requires_grad=True) for _ in range(2))
    groups = [{"params": [actual], "lr": 0.1, "weight_decay": 0.2}]
    optimizers = (
        build_optimizer(groups, AdamWSettings(betas=(0.5, 0.7))),
        torch.optim.AdamW([expected], lr=0.1, betas=(0.5, 0.7), weight_decay=0.2),
    )
    for step in range(3):
        for tensor, optimizer in zip((actual, expected), optimizers, strict=True):
            tensor.grad = torch.tensor([1.0, -2.0, 0.1]) * (step + 1)
            optimizer.step()
    assert torch.equal(actual, expected)


def test_exponential_is_a_staircase():
    factor = exponential(factor=0.94, steps=25)
    assert [factor(step) for step in (0, 24, 25, 49, 50)] == pytest.approx(
        [1, 1, 0.94, 0.94, 0.94**2]
    )


def test_decay_epochs_are_passes_over_the_images():
    """Two passes over 1,281,167 images at 256 images per step are 10,009.1 steps."""
    settings = ExponentialSettings(decay_rate=0.94, decay_epochs=2.0)
    schedule = build_schedule(settings, Recipe(lr=0.05), 1_281_167 / 256)
    assert schedule(10_009) == 1
    assert schedule(10_010) == pytest.approx(0.94)
    assert 0.05 * schedule(500_000 - 1) == pytest.approx(0.05 * 0.94**49)


def test_nesterov_matches_torch():
    weights = [torch.ones(3, requires_grad=True) for _ in range(2)]
    settings = SGDSettings(momentum=0.9, nesterov=True)
    actual = build_optimizer([{"params": [weights[0]], "lr": 0.1}], settings)
    expected = torch.optim.SGD([weights[1]], lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(3):
        for weight, optimizer in zip(weights, (actual, expected), strict=True):
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step()
    assert torch.equal(*weights)
