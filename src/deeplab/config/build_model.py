"""From the checked configuration to a network. Together with ``assemble``, which does the rest,
the only place that knows both."""

from collections.abc import Callable
from typing import Any

import torch

from deeplab.config.schema.model import ModelConfig, NetworkConfig
from deeplab.config.schema.run import ClassifierConfig
from deeplab.config.schema.types import Schema
from deeplab.models.aspp import ASPP
from deeplab.models.backbones import BACKBONES, Backbone
from deeplab.models.classifier import Classifier
from deeplab.models.decoder import Decoder
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.utils.errors import UserError


def build_model(config: ModelConfig, *, num_classes: int) -> DeepLabV3Plus:
    """The network that the config describes, at its output stride.

    Raises:
        UserError: parts that do not fit, naming the group.
    """
    backbone = build_backbone(config)
    aspp = _build("aspp", ASPP, backbone.out_channels, **keywords(config.aspp))
    decoder = _build(
        "decoder", Decoder, aspp.out_channels, backbone.low_level, **keywords(config.decoder)
    )
    model = DeepLabV3Plus(backbone, aspp, decoder, num_classes=num_classes)
    _build("output_stride", model.set_output_stride, config.output_stride)
    return model


def build_classifier(config: ClassifierConfig, *, num_classes: int) -> Classifier:
    """The backbone that the config describes, as a classifier; raises as ``build_model`` does."""
    return Classifier(build_backbone(config), num_classes=num_classes, dropout=config.stage.dropout)


def check_classifier(config: ClassifierConfig, *, num_classes: int) -> Classifier:
    """The classifier without memory or work; raises UserError as ``build_model`` does."""
    with torch.device("meta"):
        return build_classifier(config, num_classes=num_classes)


def build_backbone(config: NetworkConfig) -> Backbone:
    """The backbone that the config describes."""
    named = keywords(config.backbone, without=("family", "weight_decay", "pretrained"))
    backbone: Backbone = _build("backbone", BACKBONES[config.backbone.family], **named)
    return backbone


def check_model(config: ModelConfig, *, num_classes: int) -> DeepLabV3Plus:
    """The network without memory or work; raises UserError as ``build_model`` does."""
    with torch.device("meta"):
        return build_model(config, num_classes=num_classes)


def keywords(schema: Schema, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The keys of a group as keyword arguments."""
    return {name: value for name, value in schema if name not in without}


def _build(key: str, make: Callable[..., Any], *args: Any, **named: Any) -> Any:
    try:
        return make(*args, **named)
    except ValueError as error:
        raise UserError(f"{key}: {error}.") from None
