"""The networks of timm: getting one, what weights of it are published, and what features it states.

timm is imported where it is used.
"""

import difflib
import inspect
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from deeplab.models.backbones.base import OUTPUT_STRIDES, Feature
from deeplab.models.normalization import IMAGENET, Normalization
from deeplab.utils.errors import UserError

LOW_LEVEL = {"conv2": 4, "conv3": 8, "conv4": 16}
"""What the decoder may tap: the last map at these strides, as in torchvision's ResNets."""

ANY_SIZE = {"dynamic_img_size": True, "strict_img_size": False}
"""How timm's transformers are told that images differ in size; other networks need no telling."""


def timm_package() -> ModuleType:
    """The package itself, which is not among the locked packages.

    Raises:
        UserError: it is not installed.
    """
    try:
        import timm
    except ImportError:
        raise UserError(
            'backbone=timm: the package timm is not installed; pip install ".[timm]"'
        ) from None
    return timm


def published(model: str) -> Any:
    """What timm knows of a network's published weights; None where it has none.

    Raises:
        UserError: there is no such network, or no such weights of it.
    """
    timm = timm_package()
    name, _, tag = model.partition(".")
    asked = f"backbone.model={model}"
    if not timm.is_model(model):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UserError(f"{asked}: timm {timm.__version__} has no such network.{hint}")
    known = [other.partition(".")[2] for other in timm.list_pretrained(f"{name}.*")] if tag else []
    if tag and tag not in known:
        tags = f"its weights are {', '.join(known)}" if known else "there are no weights of it"
        raise UserError(f"{asked}: timm {timm.__version__} has no weights {tag} of it; {tags}.")
    return timm.get_pretrained_cfg(model)


def own_normalization(model: str) -> Normalization:
    """The input range that the published weights expect; raises UserError as ``published`` does."""
    record = published(model)
    if record is None:
        return IMAGENET
    mean, std = ([round(255 * value, 6) for value in v] for v in (record.mean, record.std))
    return Normalization((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


@lru_cache(maxsize=8)
def whole(model: str) -> nn.Module:
    """The network with its classifier, without memory.

    Raises:
        UserError: there is no such network.
        ValueError: it gives no features.
    """
    published(model)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network: nn.Module = timm_package().create_model(model)
    if not hasattr(network, "forward_intermediates"):
        raise ValueError(f"timm's {model} does not give the features inside it")
    return network


def stated(model: str) -> list[Feature]:
    """All features that timm says it has."""
    rows: Sequence[Mapping[str, Any]] = whole(model).feature_info  # type: ignore[assignment]
    return [Feature(row["num_chs"], row["reduction"]) for row in rows]


def taps(model: str) -> dict[str, int]:
    """The place of each feature that is used among timm's, by its name here, from fine to coarse.

    Raises ValueError where the last feature's stride is none of the paper's.
    """
    strides = [feature.stride for feature in stated(model)]
    if strides[-1] not in OUTPUT_STRIDES:
        raise ValueError(
            f"the last feature of timm's {model} has stride {strides[-1]}, and not one of "
            f"{', '.join(map(str, OUTPUT_STRIDES))}"
        )
    places = {
        name: max(place for place, s in enumerate(strides) if s == stride)
        for name, stride in LOW_LEVEL.items()
        if stride in strides and stride < strides[-1]
    }
    return places | {"output": len(strides) - 1}


def build(model: str, **options: Any) -> nn.Module:
    """The network without its classifier and without layers behind the last feature.

    Args:
        model: timm's name.
        options: keyword arguments of its class.

    Raises:
        ValueError: an option that the class has not got.
    """
    timm, places = timm_package(), list(taps(model).values())
    known = set(inspect.signature(type(whole(model))).parameters)
    # This file's class takes no output stride, but its feature extractor with the same names does.
    extractor = timm.models.is_model_in_modules(model, ["mobilenetv3"])
    known |= {"output_stride"} if extractor else set()
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"{unknown[0]}: timm's {model} has no such setting")
    if extractor:
        options |= {"features_only": True, "out_indices": places}
    told = {name: value for name, value in ANY_SIZE.items() if name in known}
    network: nn.Module = timm.create_model(model, **told, **options)
    if not extractor:
        network.prune_intermediate_layers(  # type: ignore[operator]
            places, prune_norm=True, prune_head=True
        )
    return network


def intermediates(network: nn.Module, places: Sequence[int], images: Tensor) -> list[Tensor]:
    """The features at these places, ``(N, C, H, W)`` each."""
    if not hasattr(network, "forward_intermediates"):
        return list(network(images))  # an extractor, which was told the places
    maps: list[Tensor] = network.forward_intermediates(  # type: ignore[operator]
        images, indices=list(places), output_fmt="NCHW", intermediates_only=True
    )
    return maps


def renamed(model: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of an earlier release, or of the network's authors, by those of today:
    what timm itself does with weights that it loads."""
    module = sys.modules[timm_package().model_entrypoint(model).__module__]
    rename = getattr(module, "checkpoint_filter_fn", None)
    return dict(rename(state, whole(model))) if rename else state
