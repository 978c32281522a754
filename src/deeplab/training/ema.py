"""A moving average of a network over the steps of its training, which is validated and kept in the
place of the network itself.

Lightning's ``WeightAveraging`` is not used: it exchanges and averages all buffers of its module,
the confusion matrix of a validation among them, has no warm-up of the decay, and averages behind
what other callbacks may save. A second network in the module is in its checkpoints by itself.
"""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def averaged(model: M) -> M:
    """A network to hold the average: a copy that is not trained."""
    return deepcopy(model).requires_grad_(False).eval()


def decay_at(step: int, limit: float) -> float:
    """The decay of the update behind a training step (the first is 0): ``limit`` at most, before
    that ``step / (step + 9)``, so that the average is over the last tenth of a short run and the
    first update is a copy. (The warm-up of TensorFlow's ``ExponentialMovingAverage``, which has
    ``(1 + step) / (10 + step)``, one step later.)"""
    return min(limit, step / (step + 9))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """``average = decay * average + (1 - decay) * model``, in place: weights and the statistics of
    batch norms alike, so that both are of the same networks. Counts of batches are copied."""
    ours, theirs = average.state_dict(), model.state_dict()
    floating = [name for name, tensor in ours.items() if tensor.is_floating_point()]
    torch._foreach_lerp_(
        [ours[name] for name in floating], [theirs[name] for name in floating], 1 - decay
    )
    for name in ours.keys() - set(floating):
        ours[name].copy_(theirs[name])
