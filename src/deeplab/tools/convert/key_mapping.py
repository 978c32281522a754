"""The names and layouts of TensorFlow variables in the authors' checkpoints.

A convolution and its batch norm share a scope, such as
``xception_65/entry_flow/block1/unit_1/xception_module/separable_conv1_depthwise``:

* ``weights``, height x width x in x out, or ``depthwise_weights``, height x width x channels x 1;
* ``BatchNorm/gamma``, ``beta``, ``moving_mean``, ``moving_variance``; or ``biases`` of the logits;
* or ``folded``, what ``sources`` calls the bias of a convolution that its batch norm was folded
  into.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeplab.models.aspp import ASPP
from deeplab.models.backbones import Backbone, MobileNetV2, ResNet, Xception
from deeplab.models.backbones.mobilenetv2 import InvertedResidual
from deeplab.models.backbones.xception import ROWS
from deeplab.models.decoder import Decoder, DecoderStage
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.layers import SeparableConv
from deeplab.utils.errors import UserError

Variables = Mapping[str, NDArray[np.float32]]
Scopes = Iterator[tuple[str, str]]
"""A part's name here, which has ``conv`` and ``norm``, and its scope there."""

STATISTICS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
LOGITS = "logits/semantic"


def convert(
    network: DeepLabV3Plus | Backbone, variables: Variables, scope: str
) -> dict[str, Tensor]:
    """The network's state dict, made of variables.

    Args:
        network: a whole one or a backbone alone; may be without memory.
        variables: all of them are used.
        scope: what the backbone's variables have in front.

    Raises:
        UserError: a variable is missing, has another shape, or has no place.
    """
    own, state, used = network.state_dict(), dict[str, Tensor](), set[str]()
    problems: list[str] = []
    norms = {name: module for name, module in network.named_modules() if hasattr(module, "eps")}

    def take(name: str, variable: str) -> None:
        if variable not in variables:
            problems.append(f"{variable} is missing")
            return
        used.add(variable)
        tensor = _tensor(variables[variable], variable)
        if tensor.shape != own[name].shape:
            problems.append(f"{variable} is {list(tensor.shape)}, not {list(own[name].shape)}")
        state[name] = tensor

    for part, their in _scopes(network, scope):
        depthwise = f"{their}/depthwise_weights" in variables
        take(f"{part}.conv.weight", f"{their}/{'depthwise_weights' if depthwise else 'weights'}")
        norm = f"{part}.norm"
        if f"{their}/folded" in variables:
            state |= _unfolded(norm, float(norms[norm].eps), own)
            take(f"{norm}.bias", f"{their}/folded")
        else:
            for kind, variable in STATISTICS.items():
                take(f"{norm}.{kind}", f"{their}/BatchNorm/{variable}")
            state[f"{norm}.num_batches_tracked"] = torch.tensor(0)
    if isinstance(network, DeepLabV3Plus):
        take("logits.weight", f"{LOGITS}/weights")
        take("logits.bias", f"{LOGITS}/biases")
    problems += [f"{name} has no place" for name in variables if name not in used]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(
            f"the variables are not those of this network: {'; '.join(problems[:3])}{more}. Say "
            "what it is by overrides of train.py, such as decoder=naive."
        )
    assert state.keys() == own.keys()
    return state


def _tensor(value: NDArray[np.float32], variable: str) -> Tensor:
    """In PyTorch's layout."""
    if variable.endswith("/depthwise_weights"):
        value = value.transpose(2, 3, 0, 1)
    elif variable.endswith("/weights"):
        value = value.transpose(3, 2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))


def _unfolded(norm: str, eps: float, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch norm that only adds its bias."""
    channels = own[f"{norm}.weight"].shape[0]
    return {
        f"{norm}.weight": torch.full((channels,), (1 + eps) ** 0.5),
        f"{norm}.running_mean": torch.zeros(channels),
        f"{norm}.running_var": torch.ones(channels),
        f"{norm}.num_batches_tracked": torch.tensor(0),
    }


def _scopes(network: DeepLabV3Plus | Backbone, scope: str) -> Scopes:
    if isinstance(network, Backbone):
        for part, inner in _backbone(network):
            yield part, f"{scope}/{inner}"
        return
    for part, their in _scopes(network.backbone, scope):
        yield f"backbone.{part}", their
    yield from _aspp(network.aspp)
    yield from _decoder(network.decoder)


def _backbone(backbone: Backbone) -> Scopes:
    match backbone:
        case Xception():
            return _xception(backbone)
        case ResNet():
            return _resnet(backbone)
        case MobileNetV2():
            return _mobilenetv2(backbone)
    raise UserError("of this backbone there are no checkpoints in TensorFlow.")


def _xception(backbone: Xception) -> Scopes:
    yield "stem.0", "entry_flow/conv1_1"
    yield "stem.1", "entry_flow/conv1_2"
    rows = ROWS[backbone.depth]
    place = 0
    for i, row in enumerate(rows):
        entry = len(rows) - 3
        flow, block = next(
            (name, i - first + 1)
            for name, first in (("exit", entry + 1), ("middle", entry), ("entry", 0))
            if i >= first
        )
        for unit in range(row.units):
            ours = f"units.{place}"
            theirs = f"{flow}_flow/block{block}/unit_{unit + 1}/xception_module"
            for k in range(3):
                for part in ("depthwise", "pointwise"):
                    yield f"{ours}.separable.{k}.{part}", f"{theirs}/separable_conv{k + 1}_{part}"
            if row.skip == "conv":
                yield f"{ours}.skip", f"{theirs}/shortcut"
            place += 1


def _resnet(backbone: ResNet) -> Scopes:
    convs = len(cast(nn.Sequential, backbone.stem)) - 1  # and a pooling
    for i in range(convs):
        yield f"stem.{i}", f"conv1_{i + 1}" if convs > 1 else "conv1"
    place = 0
    for block, count in enumerate(backbone.counts, 1):
        for unit in range(count):
            theirs = f"block{block}/unit_{unit + 1}/bottleneck_v1"
            for k in (1, 2, 3):
                yield f"units.{place}.conv{k}", f"{theirs}/conv{k}"
            if unit == 0:
                yield f"units.{place}.shortcut", f"{theirs}/shortcut"
            place += 1


def _mobilenetv2(backbone: MobileNetV2) -> Scopes:
    yield "stem", "Conv"
    for place, unit in enumerate(backbone.units):
        assert isinstance(unit, InvertedResidual)
        theirs = f"expanded_conv_{place}" if place else "expanded_conv"
        for part in (
            ("expand", "depthwise", "project") if unit.expands else ("depthwise", "project")
        ):
            yield f"units.{place}.{part}", f"{theirs}/{part}"


def _aspp(aspp: ASPP) -> Scopes:
    if aspp.image_pooling is not None:
        yield "aspp.image_pooling", "image_pooling"
    yield "aspp.conv", "aspp0"
    for i, branch in enumerate(aspp.atrous):
        yield from _conv(branch, f"aspp.atrous.{i}", f"aspp{i + 1}")
    yield "aspp.project", "concat_projection"


def _decoder(decoder: Decoder) -> Scopes:
    for stage in cast(Sequence[DecoderStage], decoder.stages):  # one at most in checkpoints
        ours = "decoder.stages.0"
        yield f"{ours}.project", "decoder/feature_projection0"
        for i, conv in enumerate(stage.refine):
            yield from _conv(conv, f"{ours}.refine.{i}", f"decoder/decoder_conv{i}")


def _conv(module: nn.Module, ours: str, theirs: str) -> Scopes:
    if isinstance(module, SeparableConv):
        yield f"{ours}.depthwise", f"{theirs}_depthwise"
        yield f"{ours}.pointwise", f"{theirs}_pointwise"
    else:
        yield ours, theirs
