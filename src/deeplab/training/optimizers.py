"""Parameter groups and optimizers."""

import math
from typing import Any

import torch
from torch import nn

from deeplab.config.schema.optimizer import AdamWSettings, OptimizerSettings, SGDSettings
from deeplab.config.schema.stage import Recipe
from deeplab.models.layers import is_conv_or_linear, is_depthwise
from deeplab.utils.own_code.building import build_class
from deeplab.utils.own_code.node import OwnCode


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Put every trainable parameter into one group, each with a name, lr and weight decay.

    Weight decay applies to the weights of dense and pointwise convolutions and of linear layers;
    depthwise weights, biases, norms and similar parameters (scales of residual branches, position
    tables) have none. The head is everything except the backbone (the authors' "last layers").

    The multipliers scale the learning rate. In the authors' code they scale the gradient, which is
    the same for SGD; AdamW divides by the gradient's size, so there they would have no effect. The
    bias multiplier is the authors' 2 for biases of convolutions and linear layers; in the paper's
    networks only the logits have a bias.
    """
    multipliers = {"backbone": recipe.backbone_lr_mult, "head": recipe.head_lr_mult}
    groups: dict[str, dict[str, Any]] = {}
    for module_name, module in model.named_modules():
        part = "backbone" if module_name.startswith("backbone") else "head"
        if part == "backbone" and recipe.frozen_steps == math.inf:
            continue
        for name, parameter in module.named_parameters(recurse=False):
            kind, decay, multiplier = _parameter_kind(module, name, recipe)
            group = groups.setdefault(
                f"{part}.{kind}",
                {
                    "name": f"{part}.{kind}",
                    "params": [],
                    "lr": recipe.lr * multipliers[part] * multiplier,
                    "weight_decay": decay,
                },
            )
            group["params"].append(parameter)
    return list(groups.values())


def _parameter_kind(module: nn.Module, name: str, recipe: Recipe) -> tuple[str, float, float]:
    """Return the kind of a parameter, its weight decay and its multiplier of lr."""
    if not is_conv_or_linear(module) or name not in ("weight", "bias"):
        return "norm", 0.0, 1.0
    if name == "bias":
        return "bias", 0.0, recipe.bias_lr_mult
    if is_depthwise(module):
        return "depthwise", 0.0, 1.0
    return "weight", recipe.weight_decay, 1.0


def build_optimizer(
    groups: list[dict[str, Any]], settings: OptimizerSettings | OwnCode, *, fused: bool = False
) -> torch.optim.Optimizer:
    """Build an optimizer for the parameter groups.

    Args:
        groups: parameter groups, each with its learning rate and weight decay.
        settings: keys of ``optimizer``.
        fused: update all parameters in one kernel.

    Raises:
        UserError: a class of the user's own cannot be imported, takes other arguments, or is no
            optimizer.
    """
    if isinstance(settings, OwnCode):
        return build_class(settings, "optimizer", torch.optim.Optimizer, groups)
    if isinstance(settings, AdamWSettings):
        return torch.optim.AdamW(groups, betas=settings.betas, fused=fused or None)
    assert isinstance(settings, SGDSettings)
    return torch.optim.SGD(
        groups, momentum=settings.momentum, nesterov=settings.nesterov, fused=fused or None
    )
