"""Gradient checkpointing, and backbones that are not trained."""

import math
from copy import deepcopy

import pytest
import torch
from torch.optim import AdamW

from deeplab.config.schema.optimizer import AdamWSettings
from deeplab.config.schema.stage import Recipe
from deeplab.models.layers import batch_norms
from deeplab.training.segmentation import SegmentationModule
from support.batches import NAMES, batch
from support.networks import SMALL_BACKBONES, build, tiny_model


def gradients(model, images):
    """Return loss, gradients and running statistics of a training step in float64."""
    torch.manual_seed(0)
    loss = model(images).square().mean()
    loss.backward()
    grads = [p.grad for p in model.parameters()]
    return loss.detach(), grads, [b.clone() for b in model.buffers()]


@pytest.mark.parametrize("name", list(SMALL_BACKBONES))
def test_gradient_checkpointing_changes_nothing(name):
    """Batch norms count each batch once, and dropout is drawn once."""
    model = build(SMALL_BACKBONES[name](), num_classes=5, channels=8).double().train()
    again = deepcopy(model)
    again.backbone.set_gradient_checkpointing(True)
    images = torch.rand(2, 3, 65, 65, dtype=torch.float64) * 255
    torch.testing.assert_close(gradients(model, images), gradients(again, images), rtol=0, atol=0)


def test_gradient_checkpointing_keeps_the_inputs_of_units_only():
    model = tiny_model().train()

    def kept_numbers():
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, id):
            model.backbone(torch.rand(2, 3, 129, 129))
        return sum(sizes)

    everything = kept_numbers()
    model.backbone.set_gradient_checkpointing(True)
    assert kept_numbers() < 0.5 * everything


def module_with(**recipe):
    torch.manual_seed(0)
    return SegmentationModule(
        tiny_model(dropout=0.0), Recipe(**recipe), NAMES, optimizer=AdamWSettings()
    )


def step(module, optimizer, number):
    module.backbone.update(number)
    module.train()
    loss = module.compute_loss(module.model(batch()["image"]), batch()["label"])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_a_frozen_backbone_does_not_change_and_costs_nothing():
    module = module_with(freeze_backbone=True, weight_decay=0.1)
    before = deepcopy(module.model.backbone.state_dict())
    optimizer = module.configure_optimizers()["optimizer"]
    step(module, optimizer, 0)
    torch.testing.assert_close(module.model.backbone.state_dict(), before, rtol=0, atol=0)
    frozen = set(module.model.backbone.parameters())
    assert not any(p in frozen for group in optimizer.param_groups for p in group["params"])
    assert all(p.grad is None for p in frozen)
    assert all(not norm.training for norm in batch_norms(module.model.backbone))
    assert any(norm.training for norm in batch_norms(module.model.aspp))


def test_a_backbone_thaws_after_some_steps():
    module = module_with(freeze_backbone=2, weight_decay=0.1)
    before = deepcopy(module.model.backbone.state_dict())
    optimizer: AdamW = module.configure_optimizers()["optimizer"]
    backbone = list(module.model.backbone.parameters())
    for number in range(3):
        torch.testing.assert_close(module.model.backbone.state_dict(), before, rtol=0, atol=0)
        assert not any(p in optimizer.state for p in backbone)  # no decay, no moments
        step(module, optimizer, number)
    assert all(p in optimizer.state for p in backbone)
    changed = module.model.backbone.state_dict()
    assert any(not torch.equal(changed[name], before[name]) for name in before)
    assert all(norm.training for norm in batch_norms(module.model.backbone))


@pytest.mark.parametrize(("given", "steps"), [(False, 0), (0, 0), (7, 7), (True, math.inf)])
def test_the_number_of_frozen_steps(given, steps):
    assert Recipe(freeze_backbone=given).frozen_steps == steps
