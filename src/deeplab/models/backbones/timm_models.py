"""Networks of timm: construction, metadata of pretrained weights, and features.

timm is imported only where it is used.
"""

import inspect
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from deeplab.models.backbones.base import Feature
from deeplab.models.normalization import IMAGENET, Normalization
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.settings import OUTPUT_STRIDES
from deeplab.utils.text import did_you_mean, similar

LOW_LEVEL_STRIDES = {"conv2": 4, "conv3": 8, "conv4": 16}
"""Strides of the low-level features: the last map at each, as in torchvision's ResNets."""

DYNAMIC_SIZE_OPTIONS = {"dynamic_img_size": True, "strict_img_size": False}
"""Options that let timm's transformers accept images of any size; other networks have none."""


def import_timm() -> ModuleType:
    """Import timm, which is an optional dependency, without W&B, which it would import.

    Raises:
        UserError: it is not installed.
    """
    require_extra("timm", "timm", setting="backbone=timm")
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    hide_wandb = "wandb" not in modules
    if hide_wandb:
        modules["wandb"] = None
    try:
        import timm
    finally:
        if hide_wandb:
            del modules["wandb"]
    return timm


def pretrained_cfg(model: str) -> Any:
    """Return timm's metadata of a network's pretrained weights; None if there are none.

    Raises:
        UserError: timm has no such network, or no such weights for it.
    """
    timm = import_timm()
    name, _, tag = model.partition(".")
    key = f"backbone.model={model}"
    if not timm.is_model(model):
        hint = did_you_mean(similar(name, timm.list_models(), max_words=3))
        raise UserError(f"{key}: timm {timm.__version__} has no such network.{hint}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")] if tag else []
    if tag and tag not in tags:
        hint = f"Choose from {', '.join(tags)}" if tags else "It has no pretrained weights"
        raise UserError(
            f"{key}: timm {timm.__version__} has no weights {tag} for this network. {hint}."
        )
    return timm.get_pretrained_cfg(model)


def pretrained_normalization(model: str) -> Normalization:
    """Return the input normalization that the pretrained weights expect.

    Raises:
        UserError: as ``pretrained_cfg`` does.
    """
    cfg = pretrained_cfg(model)
    if cfg is None:
        return IMAGENET
    mean, std = ([round(255 * value, 6) for value in v] for v in (cfg.mean, cfg.std))
    return Normalization((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


@lru_cache(maxsize=8)
def full_network(model: str) -> nn.Module:
    """Return the network with its classifier, on the meta device.

    Raises:
        UserError: timm has no such network.
        ValueError: it cannot return intermediate features.
    """
    pretrained_cfg(model)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network: nn.Module = import_timm().create_model(model)
    if not hasattr(network, "forward_intermediates"):
        raise ValueError(f"timm's {model} does not return intermediate features")
    return network


def all_features(model: str) -> list[Feature]:
    """Return all features that timm declares for the network."""
    rows: Sequence[Mapping[str, Any]] = full_network(model).feature_info  # type: ignore[assignment]
    return [Feature(row["num_chs"], row["reduction"]) for row in rows]


def feature_indices(model: str) -> dict[str, int]:
    """Return the index of each used feature among timm's, by its name here, from fine to coarse.

    Raises:
        ValueError: the last feature's stride is not one of the paper's output strides.
    """
    strides = [feature.stride for feature in all_features(model)]
    if strides[-1] not in OUTPUT_STRIDES:
        raise ValueError(
            f"the last feature of timm's {model} has stride {strides[-1]}, which is not one of "
            f"{', '.join(map(str, OUTPUT_STRIDES))}"
        )
    indices = {
        name: max(index for index, s in enumerate(strides) if s == stride)
        for name, stride in LOW_LEVEL_STRIDES.items()
        if stride in strides and stride < strides[-1]
    }
    return indices | {"output": len(strides) - 1}


def build(model: str, **options: Any) -> nn.Module:
    """Build the network without its classifier and without layers after the last feature.

    Args:
        model: timm's name of the network.
        options: keyword arguments of its class.

    Raises:
        ValueError: the class has no such option.
    """
    timm, indices = import_timm(), list(feature_indices(model).values())
    allowed = set(inspect.signature(type(full_network(model))).parameters)
    # The classes of timm's mobilenetv3.py take no output stride, but the feature extractor that
    # timm makes of them, with the same names of weights, does.
    extractor = timm.models.is_model_in_modules(model, ["mobilenetv3"])
    allowed |= {"output_stride"} if extractor else set()
    if unknown := [name for name in options if name not in allowed]:
        raise ValueError(f"{unknown[0]}: timm's {model} has no such setting")
    if extractor:
        options |= {"features_only": True, "out_indices": indices}
    size_options = {k: value for k, value in DYNAMIC_SIZE_OPTIONS.items() if k in allowed}
    network: nn.Module = timm.create_model(model, **size_options, **options)
    if not extractor:
        network.prune_intermediate_layers(  # type: ignore[operator]
            indices, prune_norm=True, prune_head=True
        )
    return network


def intermediate_features(
    network: nn.Module, indices: Sequence[int], images: Tensor
) -> list[Tensor]:
    """Return the features at these indices, ``(N, C, H, W)`` each."""
    if not hasattr(network, "forward_intermediates"):
        return list(network(images))  # a feature extractor that was built with these indices
    maps: list[Tensor] = network.forward_intermediates(  # type: ignore[operator]
        images, indices=list(indices), output_fmt="NCHW", intermediates_only=True
    )
    return maps


def update_keys(model: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights of an earlier timm release or of the network's authors to timm's names.

    timm does the same with weights that it loads itself.
    """
    module = sys.modules[import_timm().model_entrypoint(model).__module__]
    filter_fn = getattr(module, "checkpoint_filter_fn", None)
    return dict(filter_fn(state, full_network(model))) if filter_fn else state
