"""The networks of timm: what features they give, and what differs between output strides.

timm takes an output stride where it builds a network; here it is set on the built one. So the
network is built once more for each stride, without memory, and compared with itself: convolutions
and poolings that have another stride, rate or padding, or the same of another class (timm pads
some of them in ``forward``), or that are not there (ResNeSt's poolings). None of this has
parameters, else the stride is refused.

What a network really gives is looked at, since some take an output stride and do nothing with it:
maps of images without memory must have the sides and channels that are stated.
"""

import difflib
import inspect
import operator
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deeplab.backbones.base import OUTPUT_STRIDES, Feature
from deeplab.errors import UserError
from deeplab.normalisation import IMAGENET, Normalisation

LOW_LEVEL = {"conv2": 4, "conv3": 8, "conv4": 16}
"""What the decoder may tap: the last map at these strides, as in torchvision's ResNets."""

ANY_SIZE = {"dynamic_img_size": True, "strict_img_size": False}
"""How timm's transformers are told that images differ in size; other networks need no telling."""


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


def own_normalisation(model: str) -> Normalisation:
    """The input range that the published weights expect; raises UserError as ``published`` does."""
    record = published(model)
    if record is None:
        return IMAGENET
    mean, std = ([round(255 * value, 6) for value in v] for v in (record.mean, record.std))
    return Normalisation((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def build(model: str, **options: Any) -> nn.Module:
    """The network without its classifier and without layers behind the last feature.

    Args:
        model: timm's name.
        options: keyword arguments of its class.

    Raises:
        ValueError: an option that the class has not got.
    """
    timm, places = timm_package(), list(_taps(model).values())
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


@lru_cache(maxsize=8)
def examine(model: str) -> Found:
    """Look at a network.

    Raises:
        UserError: there is no such network.
        ValueError: it is of no use here; says why.
    """
    network, record = _without_memory(model), published(model)
    taps, stated = _taps(model), _stated(model)
    features = {name: stated[place] for name, place in taps.items()}
    side = record.input_size[-1] if record else 224
    for multiple in (1, features["output"].stride, side):
        here = Found(taps, features, multiple)
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


def _stated(model: str) -> list[Feature]:
    """All features that timm says it has."""
    rows: Sequence[Mapping[str, Any]] = whole(model).feature_info  # type: ignore[assignment]
    return [Feature(row["num_chs"], row["reduction"]) for row in rows]


def _taps(model: str) -> dict[str, int]:
    """See ``Found``; raises ValueError where the last feature's stride is none of the paper's."""
    strides = [feature.stride for feature in _stated(model)]
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


def renamed(model: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of an earlier release, or of the network's authors, by those of today:
    what timm itself does with weights that it loads."""
    module = sys.modules[timm_package().model_entrypoint(model).__module__]
    rename = getattr(module, "checkpoint_filter_fn", None)
    return dict(rename(state, whole(model))) if rename else state


def intermediates(network: nn.Module, places: Sequence[int], images: Tensor) -> list[Tensor]:
    """The features at these places, ``(N, C, H, W)`` each."""
    if not hasattr(network, "forward_intermediates"):
        return list(network(images))  # an extractor, which was told the places
    maps: list[Tensor] = network.forward_intermediates(  # type: ignore[operator]
        images, indices=list(places), output_fmt="NCHW", intermediates_only=True
    )
    return maps


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
