"""Output strides of timm's networks: which ones work, and which modules differ between them.

timm sets the output stride when it builds a network; here it changes on the built network. So the
network is also built on the meta device for each output stride, and the module trees are compared.
The differences are convolutions and poolings that have another stride, dilation or padding, that
are of another class (timm pads some of them in ``forward``), or that do not exist (ResNeSt's
poolings). If parameters differ, the output stride is not allowed.

Some networks accept an output stride and ignore it. Therefore the sizes and channels of the feature
maps are checked on images on the meta device.
"""

import operator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import nn

from deeplab.models.backbones.base import Feature
from deeplab.models.backbones.timm_models import (
    all_features,
    build,
    feature_indices,
    intermediate_features,
    pretrained_cfg,
)
from deeplab.models.sizes import map_size
from deeplab.utils.settings import OUTPUT_STRIDES


class EncoderInfo(NamedTuple):
    """Features and size requirement of a network."""

    indices: dict[str, int]
    """Index of each feature among timm's, by its name here, from fine to coarse."""
    features: dict[str, Feature]
    """Features by name, with their strides when no convolution is atrous."""
    size_divisor: int
    """Number that the sides of an image must be multiples of."""

    @property
    def stride(self) -> int:
        """The output stride when no convolution is atrous."""
        return self.features["output"].stride


class ModuleChange(NamedTuple):
    """Class and changed attributes of a module at another output stride."""

    path: str
    module_class: type[nn.Module]
    attributes: dict[str, Any]


@lru_cache(maxsize=8)
def encoder_info(model: str) -> EncoderInfo:
    """Return the features of a network and the image sizes that it accepts.

    Raises:
        UserError: timm has no such network.
        ValueError: the network cannot be used as a backbone; the message says why.
    """
    network, cfg = _build_on_meta(model), pretrained_cfg(model)
    indices, available = feature_indices(model), all_features(model)
    features = {name: available[index] for name, index in indices.items()}
    side = cfg.input_size[-1] if cfg else 224
    for size_divisor in (1, features["output"].stride, side):
        info = EncoderInfo(indices, features, size_divisor)
        if _has_declared_features(network, info, info.stride):
            return info
    raise ValueError(
        f"timm's {model} does not accept images of any size: it needs {side} x {side} pixels, or "
        "its feature maps do not have the sizes that follow from its strides"
    )


@lru_cache(maxsize=32)
def module_changes(model: str, current: int, target: int) -> list[ModuleChange]:
    """Return the changes that switch a network from one output stride to another.

    Raises:
        ValueError: the network cannot run at the target stride.
    """
    before, after = _network_at(model, current), _network_at(model, target)
    if before is None or after is None:
        allowed = [str(s) for s in OUTPUT_STRIDES if _network_at(model, s) is not None]
        raise ValueError(
            f"timm's {model} cannot run at output stride {target}. Choose from {', '.join(allowed)}"
        )
    old_modules, new_modules, absent = (
        dict(before.named_modules()),
        dict(after.named_modules()),
        nn.Identity().eval(),
    )
    pairs = {
        path: (old_modules.get(path, absent), new_modules.get(path, absent))
        for path in {**old_modules, **new_modules}
    }
    return [
        ModuleChange(path, type(new), attributes)
        for path, (old, new) in pairs.items()
        if (attributes := _changed_attributes(old, new)) or type(new) is not type(old)
    ]


@lru_cache(maxsize=32)
def _network_at(model: str, output_stride: int) -> nn.Module | None:
    """Return the network at an output stride, on the meta device; None if it cannot run at it."""
    info = encoder_info(model)
    default = _build_on_meta(model)
    if output_stride == info.stride:
        return default
    try:
        network = _build_on_meta(model, output_stride=output_stride)
    except Exception:  # timm's networks raise different exceptions for a stride they do not support
        return None
    names = (dict(n.named_modules()).keys() for n in (network, default))
    compatible = operator.le(*names) and _shapes(network) == _shapes(default)
    return network if compatible and _has_declared_features(network, info, output_stride) else None


def _build_on_meta(model: str, **options: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return build(model, **options).eval()


@torch.no_grad()
def _has_declared_features(network: nn.Module, info: EncoderInfo, output_stride: int) -> bool:
    """Return True if the feature maps have the declared sizes and channels."""
    m = info.size_divisor
    height, width = (97, 130) if m == 1 else (3 * m, 5 * m) if m <= 32 else (m, 2 * m)
    images = torch.empty(1, 3, height, width, device="meta")
    try:
        maps = intermediate_features(network, list(info.indices.values()), images)
    except Exception:  # an unsupported size may raise any exception
        return False
    expected = [
        (1, f.channels, *(map_size(n, min(f.stride, output_stride)) for n in (height, width)))
        for f in info.features.values()
    ]
    return [tuple(feature.shape) for feature in maps] == expected


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    """Return the shapes of all parameters and buffers."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {name: tensor.shape for name, tensor in tensors}


def _changed_attributes(before: nn.Module, after: nn.Module) -> dict[str, Any]:
    """Return the plain attributes of ``after`` that differ from those of ``before``.

    A None in place of a child module is left out.
    """
    missing, children = object(), dict(before.named_children())
    return {
        name: value
        for name, value in vars(after).items()
        if _is_plain(value) and name not in children and vars(before).get(name, missing) != value
    }


def _is_plain(value: Any) -> bool:
    """Return True for None, numbers, strings, and lists and tuples of them."""
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)
