"""Gradients of a batch that goes through the network in parts."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from deeplab.config.schema.loss import TopKSettings
from deeplab.config.schema.stage import Recipe
from deeplab.training.accumulation import MicroBatches
from deeplab.training.segmentation import SegmentationModule
from support.batches import NAMES, batch
from support.networks import tiny_model

SCALE = 2.0**16


def gradients(module, parts, images, labels):
    """Return the gradients of a step, of which the last part is left to Lightning."""
    strategy = SimpleNamespace(backward=lambda loss, _: (SCALE * loss).backward())
    optimizer = torch.optim.SGD(module.model.parameters())
    module.trainer = SimpleNamespace(optimizers=[optimizer], strategy=strategy)
    optimizer.zero_grad()
    (SCALE * MicroBatches(parts).loss(module, images, labels)).backward()
    return [parameter.grad / SCALE for parameter in module.model.parameters()]


class HalfPrecision:
    """Network with float16 logits, and a loss with the small gradients of one of many pixels."""

    loss_adds_up = False

    def __init__(self):
        self.model = nn.Linear(3, 3, bias=False)

    def run_part(self, images, part=0):
        return self.model(images).half()

    def compute_loss(self, logits, label, whole=None):
        return 1e-8 * logits.float().square().sum()


def test_unscaled_gradients_of_float16_logits_do_not_vanish():
    torch.manual_seed(0)
    module, images = HalfPrecision(), torch.rand(4, 3)
    expected, actual = (gradients(module, parts, images, images) for parts in (1, 2))
    assert expected[0].abs().min() > 0
    torch.testing.assert_close(actual, expected, rtol=2e-3, atol=0)


@pytest.mark.parametrize("fraction", [1.0, 0.3])
@pytest.mark.parametrize(("images", "parts"), [(6, 4), (2, 4)])
def test_a_batch_that_does_not_divide_has_the_same_gradient(images, parts, fraction, monkeypatch):
    """As the last one of an epoch in a trainer of the user's own."""
    monkeypatch.setattr(SegmentationModule, "trainer", None)
    monkeypatch.setattr(SegmentationModule, "global_step", 0)
    monkeypatch.setattr(SegmentationModule, "global_rank", 0)
    torch.manual_seed(0)
    module = SegmentationModule(
        tiny_model(dropout=0.0),
        Recipe(batch_norm="frozen"),
        NAMES,
        loss=TopKSettings(hard_pixel_fraction=fraction),
    ).double()
    data = batch(images)
    pixels = data["image"].double()
    expected, actual = (gradients(module, n, pixels, data["label"]) for n in (1, parts))
    torch.testing.assert_close(actual, expected)
