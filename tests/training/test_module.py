"""Tests of the training module: batch norms, compilation and state dict."""

import torch
from torch import nn

from deeplab.config.schema.stage import Recipe
from deeplab.training.segmentation import SegmentationModule
from support.batches import NAMES, batch
from support.networks import tiny_model


def train(module, steps, data):
    optimizer = module.configure_optimizers()["optimizer"]
    module.train()
    losses = []
    for step in range(steps):
        torch.manual_seed(step)
        loss = module.loss(module.model(data["image"]), data["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_overfits_one_batch():
    torch.manual_seed(0)
    model = tiny_model(channels=32, convs=((3, 32), (3, 32)), dropout=0.0)
    module = SegmentationModule(model, Recipe(lr=0.1, bn_momentum=0.1), NAMES)
    losses = train(module, 60, batch())
    assert losses[0] > 1.2
    assert losses[-1] < 0.3 * losses[0]


def norms(module):
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]


def test_frozen_statistics_stay_bit_identical():
    module = SegmentationModule(tiny_model(), Recipe(lr=0.1, batch_norm="frozen"), NAMES)
    before = [(n.running_mean.clone(), n.running_var.clone()) for n in norms(module)]
    weights = [n.weight.clone() for n in norms(module)]
    train(module, 3, batch())
    module.train()  # Lightning calls it repeatedly
    for norm, (mean, variance) in zip(norms(module), before, strict=True):
        assert not norm.training
        assert torch.equal(norm.running_mean, mean)
        assert torch.equal(norm.running_var, variance)
    moved = [not torch.equal(n.weight, w) for n, w in zip(norms(module), weights, strict=True)]
    assert any(moved)  # weight and bias are still trained
    assert module.model.aspp.dropout.training  # dropout stays on


def test_trained_statistics_change():
    module = SegmentationModule(tiny_model(), Recipe(lr=0.1), NAMES)
    before = [n.running_mean.clone() for n in norms(module)]
    train(module, 1, batch())
    moved = [not torch.equal(n.running_mean, b) for n, b in zip(norms(module), before, strict=True)]
    assert all(moved)


def test_recipe_overrides_momentum():
    module = SegmentationModule(tiny_model(), Recipe(bn_momentum=0.25), NAMES)
    assert {n.momentum for n in norms(module)} == {0.25}
    untouched = SegmentationModule(tiny_model(), Recipe(), NAMES)
    assert {n.momentum for n in norms(untouched)} == {3e-4}


def test_compiled_network_trains_the_same_weights(monkeypatch):
    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda m: compiler(m, backend="eager"))
    module = SegmentationModule(tiny_model(dropout=0.0), Recipe(), NAMES, compiled=True)
    (runner,) = module._runner
    assert runner is not module.model
    data = batch()
    module.loss(runner(data["image"]), data["label"]).backward()
    compiled = [p.grad.clone() for p in module.model.parameters()]
    module.zero_grad()
    module.loss(module.model(data["image"]), data["label"]).backward()
    for gradient, parameter in zip(compiled, module.model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-5)


def test_state_dict_has_each_weight_once():
    module = SegmentationModule(tiny_model(), Recipe(), NAMES, compiled=True)
    names = set(module.state_dict())
    assert {n.removeprefix("model.") for n in names} == set(module.model.state_dict())
