"""Parameter groups and optimizers."""

from typing import Any

import torch
from torch import nn

from deeplab.models.layers import is_conv_or_linear, is_depthwise


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
