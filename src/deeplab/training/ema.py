"""Exponential moving average (EMA) of a network's weights over the training steps.

The average is validated and saved instead of the network itself. Lightning's ``WeightAveraging``
is not used: it swaps and averages all buffers of its module, including the confusion matrix of a
validation, has no warm-up of the decay, and updates the average only after other callbacks may
have saved it. Here the average is a second network in the module, so it is part of every
checkpoint.
"""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def ema_copy(model: M) -> M:
    """Return a copy of the network, without gradients, that holds the average."""
    return deepcopy(model).requires_grad_(False).eval()


def decay_at(step: int, max_decay: float) -> float:
    """Return the decay of the update after a training step (the first step is 0).

    It is ``step / (step + 9)`` until that reaches ``max_decay``, so that the first update is a
    copy, and the average of a short run is over its last tenth. (This is the warm-up of
    TensorFlow's ``ExponentialMovingAverage``, ``(1 + step) / (10 + step)``, one step later.)
    """
    return min(max_decay, step / (step + 9))


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Compute ``average = decay * average + (1 - decay) * model`` in place.

    Weights and batch norm statistics are averaged alike, so that they belong to the same
    networks. Batch counts are copied.
    """
    averages, values = ([*m.parameters(), *m.buffers()] for m in (average, model))
    pairs = list(zip(averages, values, strict=True))
    floating = [(a, b) for a, b in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floating], [b for _, b in floating], 1 - decay)
    for average_count, count in pairs:
        if not count.is_floating_point():
            average_count.copy_(count)
