"""Parameter groups and the learning-rate policy of the authors' recipe."""

from collections.abc import Callable
from typing import Any

from torch import nn

from deeplab.layers import Conv
from deeplab.model import DeepLabV3Plus


def parameter_groups(
    model: DeepLabV3Plus,
    *,
    lr: float,
    weight_decay: float,
    backbone_multiplier: float = 1.0,
    head_multiplier: float = 1.0,
    bias_multiplier: float = 2.0,
) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group, each with a name, lr and weight decay.

    Weight decay falls on the weights of dense and pointwise convolutions; depthwise weights, batch
    norm and biases have none. The head is all but the backbone (the authors' "last layers").
    A multiplier on the gradient, as in their code, and one on lr are the same for SGD. The
    bias multiplier is their 2 for biases; only the logits have one.
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
    if not isinstance(module, Conv):
        return "norm", 0.0, 1.0
    if name == "bias":
        return "bias", 0.0, bias_multiplier
    if module.is_depthwise:
        return "depthwise", 0.0, 1.0
    return "weight", weight_decay, 1.0


def poly(
    *, steps: int, power: float = 0.9, slow_start_steps: int = 0, slow_start_factor: float = 1.0
) -> Callable[[int], float]:
    """The paper's policy as a factor of the base lr, by training step (the first is 0).

    ``(1 - (step - slow_start_steps) / (steps - slow_start_steps)) ** power``, and before
    ``slow_start_steps`` the constant ``slow_start_factor``.
    """

    def factor(step: int) -> float:
        if step < slow_start_steps:
            return slow_start_factor
        done = (step - slow_start_steps) / max(1, steps - slow_start_steps)
        return float(max(0.0, 1 - done) ** power)

    return factor
