"""Builders of networks from the checked config.

The builders in this package are the only code that knows both the config and the networks.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from deeplab.config.parsing import validate
from deeplab.config.schema.model import (
    NOT_ARGUMENTS,
    ModelConfig,
    NetworkConfig,
    OwnBackboneSettings,
)
from deeplab.config.schema.run import ClassifierConfig
from deeplab.models.aspp import ASPP
from deeplab.models.backbones import Backbone
from deeplab.models.backbones.families import backbone_class
from deeplab.models.backbones.wrapped import OwnBackbone
from deeplab.models.classifier import Classifier
from deeplab.models.decoder import Decoder
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.layers import set_batch_norm
from deeplab.models.own_parts import OwnASPP, OwnDecoder
from deeplab.utils.constants import LOGITS_STD
from deeplab.utils.errors import UserError
from deeplab.utils.own_code.building import build
from deeplab.utils.own_code.node import OwnCode
from deeplab.utils.settings import Settings, WeightInit


def build_model(
    config: ModelConfig,
    *,
    num_classes: int,
    logits_init: WeightInit = LOGITS_STD,
    bn_momentum: float | None = None,
) -> DeepLabV3Plus:
    """Return the network that the config describes, at its output stride.

    Args:
        config: config of the network.
        num_classes: number of classes, including the background.
        logits_init: initialization of the logits' weights, which belongs to the recipe.
        bn_momentum: momentum of every batch norm, as the recipe's; None: that of the parts.

    Raises:
        UserError: parts do not fit each other; the message names the config group.
    """
    backbone = build_backbone(config)
    aspp = build_aspp(config, backbone)
    decoder = build_decoder(config, backbone, aspp)
    model = DeepLabV3Plus(backbone, aspp, decoder, num_classes=num_classes, logits_init=logits_init)
    _build("output_stride", model.set_output_stride, config.output_stride)
    set_batch_norm(model, momentum=bn_momentum)
    model.settings = model_settings(config) | {"num_classes": num_classes}
    if bn_momentum is not None:
        model.settings["bn_momentum"] = bn_momentum
    return model


def rebuild_model(settings: Mapping[str, Any]) -> DeepLabV3Plus:
    """Return a network like the one that has these ``settings``, with new weights.

    Raises:
        UserError: a setting is wrong.
    """
    values = {"num_classes": 0, "bn_momentum": None, **settings}
    arguments = {key: values.pop(key) for key in ("num_classes", "bn_momentum")}
    return build_model(validate(ModelConfig, values), **arguments)


def model_settings(config: ModelConfig) -> dict[str, Any]:
    """Return the keys of the network alone, whatever its initial weights."""
    settings = config.model_dump(mode="json", include=set(ModelConfig.model_fields))
    if "pretrained" in settings["backbone"]:
        settings["backbone"]["pretrained"] = None  # its weights are others by now
    return settings


def build_classifier(config: ClassifierConfig, *, num_classes: int) -> Classifier:
    """Return the backbone that the config describes as a classifier.

    Raises as ``build_model`` does.
    """
    return Classifier(
        build_backbone(config),
        num_classes=num_classes,
        dropout=config.stage.dropout,
        logits_init=config.stage.logits_init,
    )


def check_classifier(config: ClassifierConfig, *, num_classes: int) -> Classifier:
    """Build the classifier on the meta device, which takes no memory or time.

    Raises UserError as ``build_model`` does.
    """
    with torch.device("meta"):
        return build_classifier(config, num_classes=num_classes)


def build_backbone(config: NetworkConfig) -> Backbone:
    """Return the backbone that the config describes.

    Raises:
        UserError: a class of the user's own cannot be imported or built.
    """
    settings = config.backbone
    if isinstance(settings, OwnBackboneSettings):
        network = build(settings, "backbone", nn.Module)
        own: Backbone = _build("backbone", OwnBackbone, network, settings.mean, settings.std)
        return own
    kwargs = group_kwargs(config.backbone, exclude=NOT_ARGUMENTS)
    backbone: Backbone = _build("backbone", backbone_class(config.backbone.family), **kwargs)
    return backbone


def build_aspp(config: ModelConfig, backbone: Backbone) -> ASPP | OwnASPP:
    """Return the ASPP that the config describes; raises as ``build_backbone`` does."""
    settings, in_channels = config.aspp, backbone.out_channels
    aspp: ASPP | OwnASPP
    if isinstance(settings, OwnCode):
        network = build(settings, "aspp", nn.Module, in_channels=in_channels)
        aspp = _build("aspp", OwnASPP, network)
    else:
        aspp = _build("aspp", ASPP, in_channels, **group_kwargs(settings))
    return aspp


def build_decoder(
    config: ModelConfig, backbone: Backbone, aspp: ASPP | OwnASPP
) -> Decoder | OwnDecoder:
    """Return the decoder that the config describes; raises as ``build_backbone`` does."""
    settings, in_channels, features = config.decoder, aspp.out_channels, backbone.low_level
    decoder: Decoder | OwnDecoder
    if isinstance(settings, OwnCode):
        network = build(
            settings, "decoder", nn.Module, in_channels=in_channels, features=dict(features)
        )
        decoder = _build("decoder", OwnDecoder, network)
    else:
        decoder = _build("decoder", Decoder, in_channels, features, **group_kwargs(settings))
    return decoder


def check_model(config: ModelConfig, *, num_classes: int) -> DeepLabV3Plus:
    """Build the network on the meta device, which takes no memory or time.

    Raises UserError as ``build_model`` does.
    """
    with torch.device("meta"):
        return build_model(config, num_classes=num_classes)


def group_kwargs(schema: Settings, exclude: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the keys of a config group as keyword arguments."""
    return {name: value for name, value in schema if name not in exclude}


def _build(key: str, constructor: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return constructor(*args, **kwargs)
    except ValueError as error:
        raise UserError(f"{key}: {error}.") from None


def check_is_network(model: object) -> None:
    """Raise UserError unless a model is a network of this project."""
    if not isinstance(model, DeepLabV3Plus):
        raise UserError(
            f"model={type(model).__name__}: expected a network of deeplab.create_model. Of a "
            "SegmentationModule it is eval_model; of a compiled or wrapped network, the one inside."
        )
