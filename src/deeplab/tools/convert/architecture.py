"""Detection of the network that TensorFlow variables belong to, by their names and shapes."""

import re
from typing import NamedTuple

from deeplab.tools.convert.tensorflow_names import LOGITS, Variables
from deeplab.utils.errors import UserError

VOC_CLASSES, CITYSCAPES_CLASSES = 21, 19
"""Numbers of classes that identify a data set."""

ATROUS_RATES = {0: "null", 3: "[6,12,18]"}
"""Atrous rates at output stride 16 by the number of branches; no variable stores them."""

CAFFE_MEAN = "[123.15,115.9,103.06]"
"""Mean color that slim's ``resnet_v1_*`` networks with the 7x7 stem subtract."""


class Architecture(NamedTuple):
    """Network described by overrides of ``deeplab train``."""

    scope: str
    """First part of the names of the backbone's variables."""
    overrides: list[str]
    num_classes: int | None
    """Number of classes; None for a classifier, of which only the backbone is converted."""
    classifier_variables: list[str]
    """Variables of that classifier that are not part of the backbone."""


def detect_architecture(variables: Variables) -> Architecture:
    """Return the network that the variables belong to.

    Raises:
        UserError: this project does not have the network.
    """
    scope = next((name for pattern in _BACKBONES for name in _top_scopes(variables, pattern)), None)
    if scope is None:
        scopes = ", ".join(sorted({name.split("/")[0] for name in variables}))
        raise UserError(
            "not one of the networks that can be converted (xception_41, 65, 71; resnet_v1_50, 101 "
            f"and their beta variants; MobilenetV2). Its variables are in {scopes}."
        )
    backbone = _backbone_overrides(scope, variables)
    if all(name.startswith(f"{scope}/") for name in variables):
        classifier = [n for n in variables if re.match(rf"{scope}/({CLASSIFIER})/", n)]
        return Architecture(scope, ["data=voc", *backbone], None, classifier)
    if f"{LOGITS}/weights" not in variables:
        raise UserError(
            f"incomplete network: it has variables of {scope} and others, but no {LOGITS}."
        )
    num_classes = variables[f"{LOGITS}/weights"].shape[-1]
    overrides = [
        *_data_overrides(num_classes),
        *backbone,
        *_aspp_overrides(variables),
        *_decoder_overrides(variables),
    ]
    return Architecture(scope, overrides, num_classes, [])


ADE20K_CLASSES = (
    "background", "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed",
    "windowpane", "grass", "cabinet", "sidewalk", "person", "earth", "door", "table", "mountain",
    "plant", "curtain", "chair", "car", "water", "painting", "sofa", "shelf", "house", "sea",
    "mirror", "rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp",
    "bathtub", "railing", "cushion", "base", "box", "column", "signboard", "chest of drawers",
    "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path",
    "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river",
    "bridge", "bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench",
    "countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar",
    "arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning",
    "streetlight", "booth", "television receiver", "airplane", "dirt track", "apparel", "pole",
    "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster", "stage", "van",
    "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool",
    "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food",
    "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher",
    "screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan",
    "fan", "pier", "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator",
    "glass", "clock", "flag",
)  # fmt: skip
"""The 150 classes of ADE20K's scene parsing benchmark, in the order of its label maps, after 0,
which is everything else."""

CLASSIFIER = "logits|Logits|Conv_1"
"""Pattern of the scopes between a backbone and the scores of ImageNet's classes."""

_BACKBONES = (r"xception_(41|65|71)", r"resnet_v1_(50|101)(_beta)?", "MobilenetV2")


def _top_scopes(variables: Variables, pattern: str) -> list[str]:
    return sorted({n.split("/")[0] for n in variables if re.match(f"{pattern}/", n)})


def _data_overrides(num_classes: int) -> list[str]:
    if num_classes == VOC_CLASSES:
        return ["data=voc"]
    if num_classes == CITYSCAPES_CLASSES:
        return ["data=cityscapes"]
    names = ["background", *(f"class_{i}" for i in range(1, num_classes))]
    if num_classes == len(ADE20K_CLASSES):
        names = [f"'{name}'" for name in ADE20K_CLASSES]
    return ["data=folder", "data.root=data/images", f"data.classes=[{','.join(names)}]"]


def _backbone_overrides(scope: str, variables: Variables) -> list[str]:
    if scope == "MobilenetV2":
        width_mult = variables[f"{scope}/expanded_conv_16/project/weights"].shape[-1] / 320
        divisor = 1 if width_mult < 1 else 8  # as in the authors' code
        return [
            "backbone=mobilenetv2",
            f"backbone.width_mult={width_mult:g}",
            f"backbone.divisor={divisor}",
        ]
    depth = re.sub(r"\D", "", scope.removeprefix("resnet_v1"))
    if scope.startswith("xception"):
        return [f"backbone=xception{depth if depth != '65' else ''}"]
    beta = f"{scope}/conv1_1/weights" in variables
    original = ["backbone.stem=7x7", f"backbone.mean={CAFFE_MEAN}", "backbone.std=[1.0,1.0,1.0]"]
    return [f"backbone=resnet{depth}", *([] if beta else original)]


def _aspp_overrides(variables: Variables) -> list[str]:
    dense = _count_matches(variables, r"aspp([1-9])/weights")
    separable = _count_matches(variables, r"aspp([1-9])_depthwise/depthwise_weights")
    branches = dense + separable
    if branches not in ATROUS_RATES or (dense and separable):
        raise UserError(
            f"{branches} atrous branches ({separable} of them separable): only networks with none, "
            "or with three of one kind, can be converted."
        )
    pooling = "image_pooling/weights" in variables
    return [
        f"aspp={'separable' if separable else 'full'}",
        f"aspp.atrous_rates={ATROUS_RATES[branches]}",
        f"aspp.image_pooling={str(pooling).lower()}",
    ]


def _decoder_overrides(variables: Variables) -> list[str]:
    projection = "decoder/feature_projection0/weights"
    if projection not in variables:
        return ["decoder=naive"]
    dense = _count_matches(variables, r"decoder/decoder_conv(\d)/weights")
    separable = _count_matches(variables, r"decoder/decoder_conv(\d)_depthwise/depthwise_weights")
    convs = []
    for i in range(dense + separable):
        scope = f"decoder/decoder_conv{i}{'_pointwise' if separable else ''}"
        convs.append(f"[3,{variables[f'{scope}/weights'].shape[-1]}]")
    return [
        f"decoder={'separable' if separable else 'full'}",
        f"decoder.low_level_channels={variables[projection].shape[-1]}",
        f"decoder.convs=[{','.join(convs)}]",
    ]


def _count_matches(variables: Variables, pattern: str) -> int:
    return sum(bool(re.fullmatch(pattern, name)) for name in variables)
