"""Key mappings from this project's backbones to the names in public ImageNet weights.

* ResNet, torchvision's layout: torchvision's names, which timm shares; ``fc`` is not used;
* MobileNetV2: torchvision's; ``features.18`` and ``classifier`` are not used;
* Xception: timm's (``*.tf_in1k``, which come from the authors' checkpoints); ``head`` is not used;
* networks of timm: timm's; layers after the last feature are not used.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from torch import Tensor

from deeplab.models.backbones.base import Backbone
from deeplab.models.backbones.mobilenetv2 import InvertedResidual, MobileNetV2
from deeplab.models.backbones.resnet import ResNet
from deeplab.models.backbones.timm import TimmEncoder
from deeplab.models.backbones.timm_models import full_network, update_keys
from deeplab.models.backbones.wrapped import OwnBackbone
from deeplab.models.backbones.xception import Xception

Pairs = Iterator[tuple[str, str]]
"""Pairs of a part's name in this project (``stem.conv``) and in the public weights.

The tensors in a part have the same names in both.
"""


class KeyMapping(NamedTuple):
    """Names that a publisher of weights gives to a network's parts."""

    publisher: str
    parts: Mapping[str, str]
    """Public names of the parts, by their names in this project."""
    unused: tuple[str, ...]
    """Public parts that a backbone lacks: the classifier and the layers before it."""
    rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None
    """Conversion of older names of the publisher to those in ``parts``, if there is one."""


def find_key_mapping(backbone: Backbone) -> KeyMapping | None:
    """Return the key mapping of this kind of backbone; None if it has no public weights.

    ResNet's beta layout has TensorFlow checkpoints only: in torchvision's weights the shapes could
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
            return KeyMapping("timm", dict(_timm(backbone)), _unused_timm_parts(backbone), rename)
        case OwnBackbone():
            modules = dict(backbone.network.named_modules())
            parts = {f"network.{name}".removesuffix("."): name for name in modules}
            return KeyMapping("its author", parts, ("fc", "head", "classifier"))
        case _:
            return None


def _resnet(backbone: ResNet) -> Pairs:
    yield "stem.0.conv", "conv1"
    yield "stem.0.norm", "bn1"
    index = 0
    for block, count in enumerate(backbone.units_per_block, 1):
        for unit in range(count):
            project, public = f"units.{index}", f"layer{block}.{unit}"
            for i in (1, 2, 3):
                yield f"{project}.conv{i}.conv", f"{public}.conv{i}"
                yield f"{project}.conv{i}.norm", f"{public}.bn{i}"
            yield f"{project}.shortcut.conv", f"{public}.downsample.0"
            yield f"{project}.shortcut.norm", f"{public}.downsample.1"
            index += 1


def _mobilenetv2(backbone: MobileNetV2) -> Pairs:
    yield "stem.conv", "features.0.0"
    yield "stem.norm", "features.0.1"
    for index, unit in enumerate(backbone.units):
        assert isinstance(unit, InvertedResidual)
        project, public = f"units.{index}", f"features.{index + 1}.conv"
        parts = ("expand", "depthwise") if unit.expands else ("depthwise",)
        for i, part in enumerate(parts):
            yield f"{project}.{part}.conv", f"{public}.{i}.0"
            yield f"{project}.{part}.norm", f"{public}.{i}.1"
        yield f"{project}.project.conv", f"{public}.{len(parts)}"
        yield f"{project}.project.norm", f"{public}.{len(parts) + 1}"


def _xception(backbone: Xception) -> Pairs:
    for i in (0, 1):
        yield f"stem.{i}.conv", f"stem.{i}.conv"
        yield f"stem.{i}.norm", f"stem.{i}.bn"
    for index in range(len(backbone.units)):
        project, public = f"units.{index}", f"blocks.{index}"
        for i in range(3):
            conv = f"{public}.stack.conv{i + 1}"
            yield f"{project}.separable.{i}.depthwise.conv", f"{conv}.conv_dw"
            yield f"{project}.separable.{i}.depthwise.norm", f"{conv}.bn_dw"
            yield f"{project}.separable.{i}.pointwise.conv", f"{conv}.conv_pw"
            yield f"{project}.separable.{i}.pointwise.norm", f"{conv}.bn_pw"
        yield f"{project}.skip.conv", f"{public}.shortcut.conv"
        yield f"{project}.skip.norm", f"{public}.shortcut.bn"


def _timm(backbone: TimmEncoder) -> Pairs:
    for name, _ in backbone.named_modules():
        yield name, name.removeprefix("timm").removeprefix(".")


def _unused_timm_parts(backbone: TimmEncoder) -> tuple[str, ...]:
    """Return the parts of the whole network that the backbone lacks, by the shortest names."""
    all_parts = {name.rpartition(".")[0] for name in full_network(backbone.model).state_dict()}
    kept = {name.rpartition(".")[0] for name in backbone.timm.state_dict()}
    kept_tops = {name.partition(".")[0] for name in kept}
    unused = ((part, part.partition(".")[0]) for part in sorted(all_parts - kept))
    return tuple(dict.fromkeys(part if top in kept_tops else top for part, top in unused))
