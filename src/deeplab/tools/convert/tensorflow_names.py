"""Names and layouts of TensorFlow variables in the authors' checkpoints.

A convolution and its batch norm share a scope, such as
``xception_65/entry_flow/block1/unit_1/xception_module/separable_conv1_depthwise``:

* ``weights``, height x width x in x out, or ``depthwise_weights``, height x width x channels x 1;
* ``BatchNorm/gamma``, ``beta``, ``moving_mean``, ``moving_variance``; or ``biases`` of the logits;
* or ``folded``, the name that ``readers`` gives to the bias of a convolution with a folded batch
  norm.
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
from deeplab.models.network import without_constants
from deeplab.utils.errors import UserError
from deeplab.utils.program import command
from deeplab.utils.text import name_some

Variables = Mapping[str, NDArray[np.float32]]
Scopes = Iterator[tuple[str, str]]
"""Pairs of the name of a module that has ``conv`` and ``norm``, and its TensorFlow scope."""

NORM_VARIABLES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
LOGITS = "logits/semantic"


def convert(
    network: DeepLabV3Plus | Backbone, variables: Variables, scope: str
) -> dict[str, Tensor]:
    """Convert variables to the state dict of a network.

    Args:
        network: a complete network or a backbone alone; it may be on the meta device.
        variables: TensorFlow variables; all of them must be used.
        scope: first part of the names of the backbone's variables.

    Raises:
        UserError: a variable is missing, has another shape, or is not part of the network.
    """
    target, state = without_constants(network.state_dict()), dict[str, Tensor]()
    used = set[str]()
    problems: list[str] = []
    norms = {name: module for name, module in network.named_modules() if hasattr(module, "eps")}

    def take(name: str, variable: str) -> None:
        if variable not in variables:
            problems.append(f"{variable} is missing")
            return
        used.add(variable)
        tensor = _tensor(variables[variable], variable)
        if tensor.shape != target[name].shape:
            problems.append(f"{variable} is {list(tensor.shape)}, not {list(target[name].shape)}")
        state[name] = tensor

    for module, tf_scope in _scopes(network, scope):
        depthwise = f"{tf_scope}/depthwise_weights" in variables
        kind = "depthwise_weights" if depthwise else "weights"
        take(f"{module}.conv.weight", f"{tf_scope}/{kind}")
        norm = f"{module}.norm"
        if f"{tf_scope}/folded" in variables:
            state |= _bias_only_norm(norm, float(norms[norm].eps), target)
            take(f"{norm}.bias", f"{tf_scope}/folded")
        else:
            for key, variable in NORM_VARIABLES.items():
                take(f"{norm}.{key}", f"{tf_scope}/BatchNorm/{variable}")
            state[f"{norm}.num_batches_tracked"] = torch.tensor(0)
    if isinstance(network, DeepLabV3Plus):
        take("logits.weight", f"{LOGITS}/weights")
        take("logits.bias", f"{LOGITS}/biases")
    problems += [f"{name} is not part of it" for name in variables if name not in used]
    if problems:
        listed = name_some(problems, separator="; ")
        raise UserError(
            f"the variables do not fit the network: {listed}. Describe the network with overrides "
            f"of {command('train')}, such as decoder=naive."
        )
    assert state.keys() == target.keys()
    return state


def _tensor(value: NDArray[np.float32], variable: str) -> Tensor:
    """Return a variable in PyTorch's layout."""
    if variable.endswith("/depthwise_weights"):
        value = value.transpose(2, 3, 0, 1)
    elif variable.endswith("/weights"):
        value = value.transpose(3, 2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))


def _bias_only_norm(norm: str, eps: float, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of a batch norm that only adds its bias."""
    channels = target[f"{norm}.weight"].shape[0]
    return {
        f"{norm}.weight": torch.full((channels,), (1 + eps) ** 0.5),
        f"{norm}.running_mean": torch.zeros(channels),
        f"{norm}.running_var": torch.ones(channels),
        f"{norm}.num_batches_tracked": torch.tensor(0),
    }


def _scopes(network: DeepLabV3Plus | Backbone, scope: str) -> Scopes:
    if isinstance(network, Backbone):
        for module, tf_scope in _backbone(network):
            yield module, f"{scope}/{tf_scope}"
        return
    for module, tf_scope in _scopes(network.backbone, scope):
        yield f"backbone.{module}", tf_scope
    if isinstance(network.aspp, ASPP) and isinstance(network.decoder, Decoder):
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
    raise UserError("this backbone has no TensorFlow checkpoints.")


def _xception(backbone: Xception) -> Scopes:
    yield "stem.0", "entry_flow/conv1_1"
    yield "stem.1", "entry_flow/conv1_2"
    rows = ROWS[backbone.depth]
    index = 0
    for i, row in enumerate(rows):
        entry = len(rows) - 3
        flow, block = next(
            (name, i - first + 1)
            for name, first in (("exit", entry + 1), ("middle", entry), ("entry", 0))
            if i >= first
        )
        for unit in range(row.units):
            module = f"units.{index}"
            scope = f"{flow}_flow/block{block}/unit_{unit + 1}/xception_module"
            for k in range(3):
                for part in ("depthwise", "pointwise"):
                    yield f"{module}.separable.{k}.{part}", f"{scope}/separable_conv{k + 1}_{part}"
            if row.skip == "conv":
                yield f"{module}.skip", f"{scope}/shortcut"
            index += 1


def _resnet(backbone: ResNet) -> Scopes:
    convs = len(cast(nn.Sequential, backbone.stem)) - 1  # the last one is a pooling
    for i in range(convs):
        yield f"stem.{i}", f"conv1_{i + 1}" if convs > 1 else "conv1"
    index = 0
    for block, count in enumerate(backbone.units_per_block, 1):
        for unit in range(count):
            scope = f"block{block}/unit_{unit + 1}/bottleneck_v1"
            for k in (1, 2, 3):
                yield f"units.{index}.conv{k}", f"{scope}/conv{k}"
            if unit == 0:
                yield f"units.{index}.shortcut", f"{scope}/shortcut"
            index += 1


def _mobilenetv2(backbone: MobileNetV2) -> Scopes:
    yield "stem", "Conv"
    for index, unit in enumerate(backbone.units):
        assert isinstance(unit, InvertedResidual)
        scope = f"expanded_conv_{index}" if index else "expanded_conv"
        for part in (
            ("expand", "depthwise", "project") if unit.expands else ("depthwise", "project")
        ):
            yield f"units.{index}.{part}", f"{scope}/{part}"


def _aspp(aspp: ASPP) -> Scopes:
    if aspp.image_pooling is not None:
        yield "aspp.image_pooling", "image_pooling"
    yield "aspp.conv", "aspp0"
    for i, branch in enumerate(aspp.atrous):
        yield from _conv(branch, f"aspp.atrous.{i}", f"aspp{i + 1}")
    yield "aspp.project", "concat_projection"


def _decoder(decoder: Decoder) -> Scopes:
    for stage in cast(Sequence[DecoderStage], decoder.stages):  # checkpoints have one at most
        name = "decoder.stages.0"
        yield f"{name}.project", "decoder/feature_projection0"
        for i, conv in enumerate(stage.refine):
            yield from _conv(conv, f"{name}.refine.{i}", f"decoder/decoder_conv{i}")


def _conv(module: nn.Module, name: str, scope: str) -> Scopes:
    if isinstance(module, SeparableConv):
        yield f"{name}.depthwise", f"{scope}_depthwise"
        yield f"{name}.pointwise", f"{scope}_pointwise"
    else:
        yield name, scope
