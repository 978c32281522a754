"""Warning about statistics of batch norms that few steps cannot move."""

import re

import pytest
import torch
from torch import nn

from deeplab.training.batch_norm_lag import lagging_statistics
from deeplab.training.compose_config import compose_train


def warning(*overrides: str) -> str:
    return "".join(lagging_statistics(compose_train(overrides)))


@pytest.mark.parametrize(("steps", "momentum"), [(30, 0.03), (60, 0.02), (100, 0.0003)])
def test_the_named_part_is_what_pytorch_keeps(steps, momentum):
    norm = nn.BatchNorm2d(1, momentum=momentum)
    norm.running_mean.fill_(1.0)
    for _ in range(steps):
        norm(torch.tensor([[[[-1.0, 1.0]]]]))  # a mean of 0
    text = warning(f"stage.max_steps={steps}", f"stage.bn_momentum={momentum}")
    assert f"keep {100 * norm.running_mean.item():.0f} % of their initial statistics" in text
    suggested = re.search(r"set (stage\.bn_momentum=[\d.]+)\.$", text)[1]
    assert not warning(f"stage.max_steps={steps}", suggested)


@pytest.mark.parametrize(
    "overrides",
    [
        ["stage.max_steps=1500"],
        ["stage.max_steps=3", "stage.batch_norm=frozen"],
        ["stage.max_steps=60", "trainer.accumulate_grad_batches=4"],
        ["data=voc", "stage.max_steps=30000"],
    ],
)
def test_no_warning(overrides):
    assert not warning(*overrides)


def test_the_momentum_of_the_parts():
    """Without ``stage.bn_momentum``, the paper's."""
    assert "74 %" in warning("data=voc", "stage.max_steps=1000")
