"""Parameter groups, optimizers and learning rate schedules."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from deeplab.models.layers import is_conv_or_linear, is_depthwise

Schedule = Callable[[int], float]
"""Function from the training step (the first is 0) to the factor of the base learning rate."""


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    backbone_multiplier: float = 1.0,
    head_multiplier: float = 1.0,
    bias_multiplier: float = 2.0,
) -> list[dict[str, Any]]:
    """Put every trainable parameter into one group, each with a name, lr and weight decay.

    Weight decay applies to the weights of dense and pointwise convolutions and of linear layers;
    depthwise weights, biases, norms and similar parameters (scales of residual branches, position
    tables) have none. The head is everything except the backbone (the authors' "last layers").

    The multipliers scale the learning rate. In the authors' code they scale the gradient, which is
    the same for SGD; AdamW divides by the gradient's size, so there they would have no effect. The
    bias multiplier is the authors' 2 for biases of convolutions and linear layers; in the paper's
    networks only the logits have a bias.
    """
    multipliers = {"backbone": backbone_multiplier, "head": head_multiplier}
    groups: dict[str, dict[str, Any]] = {}
    for module_name, module in model.named_modules():
        part = "backbone" if module_name.startswith("backbone") else "head"
        for name, parameter in module.named_parameters(recurse=False):
            kind, decay, multiplier = _classify(module, name, weight_decay, bias_multiplier)
            group = groups.setdefault(
                f"{part}.{kind}",
                {
                    "name": f"{part}.{kind}",
                    "params": [],
                    "lr": lr * multipliers[part] * multiplier,
                    "weight_decay": decay,
                },
            )
            group["params"].append(parameter)
    return list(groups.values())


def _classify(
    module: nn.Module, name: str, weight_decay: float, bias_multiplier: float
) -> tuple[str, float, float]:
    """Return the kind of a parameter, its weight decay and its multiplier of lr."""
    if not is_conv_or_linear(module) or name not in ("weight", "bias"):
        return "norm", 0.0, 1.0
    if name == "bias":
        return "bias", 0.0, bias_multiplier
    if is_depthwise(module):
        return "depthwise", 0.0, 1.0
    return "weight", weight_decay, 1.0


def build_optimizer(
    groups: list[dict[str, Any]],
    name: str,
    *,
    momentum: float | None = None,
    nesterov: bool = False,
    betas: tuple[float, float] | None = None,
    fused: bool = False,
) -> torch.optim.Optimizer:
    """Build the optimizer for the parameter groups.

    Args:
        groups: parameter groups.
        name: ``sgd`` or ``adamw``, whose weight decay is decoupled: lr times the weight, apart
            from the moments of the gradient.
        momentum: momentum of SGD.
        nesterov: use Nesterov's momentum.
        betas: betas of AdamW.
        fused: update all parameters in one kernel.
    """
    if name == "adamw":
        assert betas is not None
        return torch.optim.AdamW(groups, betas=betas, fused=fused or None)
    assert momentum is not None
    return torch.optim.SGD(groups, momentum=momentum, nesterov=nesterov, fused=fused or None)


def poly(*, steps: int, power: float = 0.9) -> Schedule:
    """Return the paper's "poly" schedule: ``(1 - step / steps) ** power``."""
    return lambda step: float(max(0.0, 1 - step / max(1, steps)) ** power)


def cosine(*, steps: int) -> Schedule:
    """Return half a cosine wave from 1 to 0: ``(1 + cos(pi * step / steps)) / 2``."""
    return lambda step: (1 + math.cos(math.pi * min(1.0, step / max(1, steps)))) / 2


def exponential(*, factor: float, steps: float) -> Schedule:
    """Return a staircase: multiply by ``factor`` every ``steps`` steps.

    The paper's ImageNet training uses 0.94 every two epochs.
    """
    return lambda step: float(factor ** (step // steps))


def warmup(schedule: Schedule, *, steps: int, factor: float, linear: bool = False) -> Schedule:
    """Add a warm-up before a schedule; the end of the warm-up is step 0 of ``schedule``.

    During the first ``steps`` steps the value is the constant ``factor``, as in the authors' code
    ("slow start"). With ``linear`` it rises linearly from ``factor`` to 1, which the authors added
    later.
    """

    def factor_at(step: int) -> float:
        if step >= steps:
            return schedule(step - steps)
        return factor + (1 - factor) * step / steps if linear else factor

    return factor_at
