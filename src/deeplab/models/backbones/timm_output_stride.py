"""The networks of timm at output strides: what they really give, and what differs between two.

timm takes an output stride where it builds a network; here it is set on the built one. So the
network is built once more for each stride, without memory, and compared with itself: convolutions
and poolings that have another stride, rate or padding, or the same of another class (timm pads
some of them in ``forward``), or that are not there (ResNeSt's poolings). None of this has
parameters, else the stride is refused.

What a network really gives is looked at, since some take an output stride and do nothing with it:
maps of images without memory must have the sides and channels that are stated.
"""

import operator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import nn

from deeplab.models.backbones.base import OUTPUT_STRIDES, Feature
from deeplab.models.backbones.timm_models import build, intermediates, published, stated, taps


class Found(NamedTuple):
    """What was found out about a network."""

    taps: dict[str, int]
    """The place of each feature among timm's, by its name here, from fine to coarse."""
    features: dict[str, Feature]
    """At the strides that they have when nothing is atrous."""
    multiple: int
    """What the sides of an image must be multiples of."""

    @property
    def stride(self) -> int:
        """The output stride when nothing is atrous."""
        return self.features["output"].stride


class Change(NamedTuple):
    """What becomes of a module at another output stride."""

    path: str
    kind: type[nn.Module]
    values: dict[str, Any]


@lru_cache(maxsize=8)
def examine(model: str) -> Found:
    """SeedResult at a network.

    Raises:
        UserError: there is no such network.
        ValueError: it is of no use here; says why.
    """
    network, record = _without_memory(model), published(model)
    places, known = taps(model), stated(model)
    features = {name: known[place] for name, place in places.items()}
    side = record.input_size[-1] if record else 224
    for multiple in (1, features["output"].stride, side):
        here = Found(places, features, multiple)
        if _gives(network, here, here.stride):
            return here
    raise ValueError(
        f"timm's {model} does not go with images of any size: it wants {side} x {side} pixels, or "
        "gives maps of other sizes than its strides say"
    )


@lru_cache(maxsize=32)
def changes(model: str, now: int, wanted: int) -> list[Change]:
    """What is to be changed on a network that runs at one output stride so that it runs at another.

    Raises:
        ValueError: it cannot run at that stride.
    """
    before, after = _at(model, now), _at(model, wanted)
    if before is None or after is None:
        able = [str(stride) for stride in OUTPUT_STRIDES if _at(model, stride) is not None]
        raise ValueError(f"timm's {model} cannot run at {wanted}; it can at {', '.join(able)}")
    old, new, nothing = (
        dict(before.named_modules()),
        dict(after.named_modules()),
        nn.Identity().eval(),
    )
    pairs = {path: (old.get(path, nothing), new.get(path, nothing)) for path in {**old, **new}}
    return [
        Change(path, type(module), values)
        for path, (former, module) in pairs.items()
        if (values := _differing(former, module)) or type(module) is not type(former)
    ]


@lru_cache(maxsize=32)
def _at(model: str, output_stride: int) -> nn.Module | None:
    """The network at an output stride, without memory; None where it cannot run at it."""
    own = examine(model)
    plain = _without_memory(model)
    if output_stride == own.stride:
        return plain
    try:
        network = _without_memory(model, output_stride=output_stride)
    except Exception:  # each network says in its own way that it cannot
        return None
    names = (dict(each.named_modules()).keys() for each in (network, plain))
    same = operator.le(*names) and _shapes(network) == _shapes(plain)
    return network if same and _gives(network, own, output_stride) else None


def _without_memory(model: str, **options: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return build(model, **options).eval()


@torch.no_grad()
def _gives(network: nn.Module, own: Found, output_stride: int) -> bool:
    """Whether it has features of the sides and channels that are stated."""
    m = own.multiple
    height, width = (97, 130) if m == 1 else (3 * m, 5 * m) if m <= 32 else (m, 2 * m)
    images = torch.empty(1, 3, height, width, device="meta")
    try:
        maps = intermediates(network, list(own.taps.values()), images)
    except Exception:  # a size that it cannot take may end in any of them
        return False
    expected = [
        (1, f.channels, *(1 + (n - 1) // min(f.stride, output_stride) for n in (height, width)))
        for f in own.features.values()
    ]
    return [tuple(given.shape) for given in maps] == expected


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    """Of all parameters and buffers."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {name: tensor.shape for name, tensor in tensors}


def _differing(before: nn.Module, after: nn.Module) -> dict[str, Any]:
    """Numbers and words that are others in ``after``, but no None in place of a module."""
    missing, children = object(), dict(before.named_children())
    return {
        name: value
        for name, value in vars(after).items()
        if _is_plain(value) and name not in children and vars(before).get(name, missing) != value
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)
