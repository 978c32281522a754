"""The names that public ImageNet weights give to the parts of a backbone.

* ResNet, torchvision's layout: torchvision's names, which timm shares; ``fc`` is not used;
* MobileNetV2: torchvision's; ``features.18`` and ``classifier`` are not used;
* Xception: timm's (``*.tf_in1k``, which come from the authors' checkpoints); ``head`` is not used;
* networks of timm: timm's; what is behind the last feature is not used.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from torch import Tensor

from deeplab.models.backbones.base import Backbone
from deeplab.models.backbones.mobilenetv2 import InvertedResidual, MobileNetV2
from deeplab.models.backbones.resnet import ResNet
from deeplab.models.backbones.timm_encoder import TimmEncoder
from deeplab.models.backbones.timm_models import full_network, update_keys
from deeplab.models.backbones.xception import Xception

Pairs = Iterator[tuple[str, str]]
"""A part's name here (``stem.conv``) and there; the tensors in it have the same names."""


class KeyMapping(NamedTuple):
    """How somebody who publishes weights names a network's parts."""

    whose: str
    parts: Mapping[str, str]
    """By their names here."""
    unused: tuple[str, ...]
    """Parts that a backbone has not got: the classifier, and what leads to it."""
    rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None
    """Gives weights with other names these names, where it knows them."""


def find_key_mapping(backbone: Backbone) -> KeyMapping | None:
    """Those of weights that fit this kind of backbone; None where nobody publishes any.

    Of ResNet's beta layout there are TensorFlow checkpoints only: in torchvision's the shapes could
    be the same, but other units have the strides.
    """
    match backbone:
        case ResNet(layout="torchvision"):
            return KeyMapping("torchvision", dict(_resnet(backbone)), ("fc",))
        case MobileNetV2():
            unused = ("features.18", "classifier")
            return KeyMapping("torchvision", dict(_mobilenetv2(backbone)), unused)
        case Xception():
            return KeyMapping("timm", dict(_xception(backbone)), ("head",))
        case TimmEncoder():
            rename = partial(update_keys, backbone.model)
            return KeyMapping("timm", dict(_timm(backbone)), _classifier(backbone), rename)
        case _:
            return None


def _resnet(backbone: ResNet) -> Pairs:
    yield "stem.0.conv", "conv1"
    yield "stem.0.norm", "bn1"
    place = 0
    for block, count in enumerate(backbone.units_per_block, 1):
        for unit in range(count):
            ours, theirs = f"units.{place}", f"layer{block}.{unit}"
            for i in (1, 2, 3):
                yield f"{ours}.conv{i}.conv", f"{theirs}.conv{i}"
                yield f"{ours}.conv{i}.norm", f"{theirs}.bn{i}"
            yield f"{ours}.shortcut.conv", f"{theirs}.downsample.0"
            yield f"{ours}.shortcut.norm", f"{theirs}.downsample.1"
            place += 1


def _mobilenetv2(backbone: MobileNetV2) -> Pairs:
    yield "stem.conv", "features.0.0"
    yield "stem.norm", "features.0.1"
    for place, unit in enumerate(backbone.units):
        assert isinstance(unit, InvertedResidual)
        ours, theirs = f"units.{place}", f"features.{place + 1}.conv"
        parts = ("expand", "depthwise") if unit.expands else ("depthwise",)
        for i, part in enumerate(parts):
            yield f"{ours}.{part}.conv", f"{theirs}.{i}.0"
            yield f"{ours}.{part}.norm", f"{theirs}.{i}.1"
        yield f"{ours}.project.conv", f"{theirs}.{len(parts)}"
        yield f"{ours}.project.norm", f"{theirs}.{len(parts) + 1}"


def _xception(backbone: Xception) -> Pairs:
    for i in (0, 1):
        yield f"stem.{i}.conv", f"stem.{i}.conv"
        yield f"stem.{i}.norm", f"stem.{i}.bn"
    for place in range(len(backbone.units)):
        ours, theirs = f"units.{place}", f"blocks.{place}"
        for i in range(3):
            inner = f"{theirs}.stack.conv{i + 1}"
            yield f"{ours}.separable.{i}.depthwise.conv", f"{inner}.conv_dw"
            yield f"{ours}.separable.{i}.depthwise.norm", f"{inner}.bn_dw"
            yield f"{ours}.separable.{i}.pointwise.conv", f"{inner}.conv_pw"
            yield f"{ours}.separable.{i}.pointwise.norm", f"{inner}.bn_pw"
        yield f"{ours}.skip.conv", f"{theirs}.shortcut.conv"
        yield f"{ours}.skip.norm", f"{theirs}.shortcut.bn"


def _timm(backbone: TimmEncoder) -> Pairs:
    for name, _ in backbone.named_modules():
        yield name, name.removeprefix("timm").removeprefix(".")


def _classifier(backbone: TimmEncoder) -> tuple[str, ...]:
    """The parts that the whole network has and the backbone has not, said as short as it goes."""
    parts = {name.rpartition(".")[0] for name in full_network(backbone.model).state_dict()}
    own = {name.rpartition(".")[0] for name in backbone.timm.state_dict()}
    used = {name.partition(".")[0] for name in own}
    first = ((part, part.partition(".")[0]) for part in sorted(parts - own))
    return tuple(dict.fromkeys(part if top in used else top for part, top in first))
