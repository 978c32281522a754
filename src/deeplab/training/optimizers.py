"""Parameter groups, optimizers and learning-rate policies."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from deeplab.models.layers import is_depthwise, is_product

Policy = Callable[[int], float]
"""Factor of the base lr by training step; the first is 0."""


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    backbone_multiplier: float = 1.0,
    head_multiplier: float = 1.0,
    bias_multiplier: float = 2.0,
) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group, each with a name, lr and weight decay.

    Weight decay falls on the weights of dense and pointwise convolutions and of linear layers;
    depthwise weights, biases, norms and what is like them (scales of residual branches, position
    tables) have none. The head is all but the backbone (the authors' "last layers").
    The multipliers are of lr. In their code they are of the gradient, which is the same for SGD;
    AdamW divides by the gradient's size and would not see them there. The bias multiplier is
    their 2 for biases of convolutions and linear layers; in the paper's networks only the logits
    have one.
    """
    multipliers = {"backbone": backbone_multiplier, "head": head_multiplier}
    groups: dict[str, dict[str, Any]] = {}
    for module_name, module in model.named_modules():
        part = "backbone" if module_name.startswith("backbone") else "head"
        for name, parameter in module.named_parameters(recurse=False):
            kind, decay, multiplier = _kind(module, name, weight_decay, bias_multiplier)
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


def _kind(
    module: nn.Module, name: str, weight_decay: float, bias_multiplier: float
) -> tuple[str, float, float]:
    """Kind of a parameter, its weight decay and its multiplier of lr."""
    if not is_product(module) or name not in ("weight", "bias"):
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
    """``sgd``, which wants ``momentum``, Nesterov's or not; or ``adamw``, which wants ``betas``:
    its weight decay is lr times the weight, apart from the gradient's moments.

    ``fused`` updates all parameters in one kernel.
    """
    if name == "adamw":
        assert betas is not None
        return torch.optim.AdamW(groups, betas=betas, fused=fused or None)
    assert momentum is not None
    return torch.optim.SGD(groups, momentum=momentum, nesterov=nesterov, fused=fused or None)


def poly(*, steps: int, power: float = 0.9) -> Policy:
    """The paper's policy: ``(1 - step / steps) ** power``."""
    return lambda step: float(max(0.0, 1 - step / max(1, steps)) ** power)


def cosine(*, steps: int) -> Policy:
    """Half a cosine wave from 1 to 0: ``(1 + cos(pi * step / steps)) / 2``."""
    return lambda step: (1 + math.cos(math.pi * min(1.0, step / max(1, steps)))) / 2


def exponential(*, factor: float, steps: float) -> Policy:
    """``factor`` to the power of the whole times that ``steps`` have passed: the paper's ImageNet
    training has 0.94 every two epochs."""
    return lambda step: float(factor ** (step // steps))


def warmup(policy: Policy, *, steps: int, factor: float, linear: bool = False) -> Policy:
    """``policy`` behind a slow start, whose end is its step 0.

    Before ``steps`` the factor is the constant ``factor``, as in the authors' code; or, with
    ``linear``, it rises in a line from there to 1, which they added later: a warm-up.
    """

    def factor_at(step: int) -> float:
        if step >= steps:
            return policy(step - steps)
        return factor + (1 - factor) * step / steps if linear else factor

    return factor_at
