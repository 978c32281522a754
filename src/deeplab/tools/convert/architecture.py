"""Which network TensorFlow variables belong to, by their names and shapes."""

import re
from typing import NamedTuple

from deeplab.tools.convert.key_mapping import LOGITS, Variables
from deeplab.utils.errors import UserError

VOC, CITYSCAPES = 21, 19
"""Numbers of classes by which a data set is known."""

RATES = {0: [], 3: [6, 12, 18]}
"""Rates at output stride 16 by the number of atrous branches. They are no variables."""

CAFFE_MEAN = "[123.15,115.9,103.06]"
"""The mean color that slim's ``resnet_v1_*`` with the 7x7 stem subtract."""


class Recognized(NamedTuple):
    """A network in words of ``train.py``."""

    scope: str
    """What the backbone's variables have in front."""
    overrides: list[str]
    classes: int | None
    """None: it is a classifier, of which the backbone is wanted."""
    left_out: list[str]
    """The variables of that classifier."""


def recognize(variables: Variables) -> Recognized:
    """The network whose variables these are.

    Raises:
        UserError: it is none that this project has.
    """
    scope = next((name for pattern in _BACKBONES for name in _tops(variables, pattern)), None)
    if scope is None:
        tops = ", ".join(sorted({name.split("/")[0] for name in variables}))
        raise UserError(
            f"this is none of the networks that can be converted (xception_41, 65, 71; "
            f"resnet_v1_50, 101 and their beta variants; MobilenetV2): its variables are in {tops}."
        )
    backbone = _backbone(scope, variables)
    if all(name.startswith(f"{scope}/") for name in variables):
        classifier = [n for n in variables if re.match(rf"{scope}/({CLASSIFIER})/", n)]
        return Recognized(scope, ["data=voc", *backbone], None, classifier)
    if f"{LOGITS}/weights" not in variables:
        raise UserError(f"there are {scope} and more, but no {LOGITS}: no network is complete.")
    classes = variables[f"{LOGITS}/weights"].shape[-1]
    overrides = [*_data(classes), *backbone, *_aspp(variables), *_decoder(variables)]
    return Recognized(scope, overrides, classes, [])


CLASSIFIER = "logits|Logits|Conv_1"
"""What leads from a backbone to ImageNet's classes."""

_BACKBONES = (r"xception_(41|65|71)", r"resnet_v1_(50|101)(_beta)?", "MobilenetV2")


def _tops(variables: Variables, pattern: str) -> list[str]:
    return sorted({n.split("/")[0] for n in variables if re.match(f"{pattern}/", n)})


def _data(classes: int) -> list[str]:
    if classes == VOC:
        return ["data=voc"]
    if classes == CITYSCAPES:
        return ["data=cityscapes"]
    names = ["background", *(f"class_{i}" for i in range(1, classes))]
    return ["data=folder", "data.root=data/images", f"data.classes=[{','.join(names)}]"]


def _backbone(scope: str, variables: Variables) -> list[str]:
    if scope == "MobilenetV2":
        width = variables[f"{scope}/expanded_conv_16/project/weights"].shape[-1] / 320
        divisor = 1 if width < 1 else 8  # as the authors' code chooses
        return [
            "backbone=mobilenetv2",
            f"backbone.width_mult={width:g}",
            f"backbone.divisor={divisor}",
        ]
    depth = re.sub(r"\D", "", scope.removeprefix("resnet_v1"))
    if scope.startswith("xception"):
        return [f"backbone=xception{depth if depth != '65' else ''}"]
    beta = f"{scope}/conv1_1/weights" in variables
    plain = ["backbone.stem=7x7", f"backbone.mean={CAFFE_MEAN}", "backbone.std=[1.0,1.0,1.0]"]
    return [f"backbone=resnet{depth}", *([] if beta else plain)]


def _aspp(variables: Variables) -> list[str]:
    dense = _count(variables, r"aspp([1-9])/weights")
    separable = _count(variables, r"aspp([1-9])_depthwise/depthwise_weights")
    branches = dense + separable
    if branches not in RATES or (dense and separable):
        raise UserError(f"there are {branches} atrous branches; known are none and three.")
    pooling = "image_pooling/weights" in variables
    return [
        f"aspp={'separable' if separable else 'full'}",
        f"aspp.atrous_rates={RATES[branches]}".replace(" ", ""),
        f"aspp.image_pooling={str(pooling).lower()}",
    ]


def _decoder(variables: Variables) -> list[str]:
    projection = "decoder/feature_projection0/weights"
    if projection not in variables:
        return ["decoder=naive"]
    dense = _count(variables, r"decoder/decoder_conv(\d)/weights")
    separable = _count(variables, r"decoder/decoder_conv(\d)_depthwise/depthwise_weights")
    convs = []
    for i in range(dense + separable):
        scope = f"decoder/decoder_conv{i}{'_pointwise' if separable else ''}"
        convs.append(f"[3,{variables[f'{scope}/weights'].shape[-1]}]")
    return [
        f"decoder={'separable' if separable else 'full'}",
        f"decoder.low_level_channels={variables[projection].shape[-1]}",
        f"decoder.convs=[{','.join(convs)}]",
    ]


def _count(variables: Variables, pattern: str) -> int:
    return sum(bool(re.fullmatch(pattern, name)) for name in variables)
