"""The keys of backbone, ASPP and decoder."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from deeplab.config.schema.types import (
    AboveZero,
    Bool,
    Channels,
    Color,
    Deviation,
    Float,
    Grid,
    Momentum,
    Positive,
    Rate,
    Schema,
    Text,
    WeightInit,
)


class _Backbone(Schema):
    pretrained: Text | None = None
    weight_decay: Rate


class _Own(_Backbone):
    mean: Color
    std: Deviation
    weight_init: WeightInit
    bn_eps: AboveZero
    bn_momentum: Momentum


class XceptionConfig(_Own):
    """``deeplab.models.backbones.Xception``."""

    family: Literal["xception"]
    depth: Literal[41, 65, 71]
    width_mult: Annotated[Float, Field(ge=0.0625, le=4)] = 1.0
    multi_grid: Grid


class ResNetConfig(_Own):
    """``deeplab.models.backbones.ResNet``."""

    family: Literal["resnet"]
    depth: Literal[50, 101] | tuple[Positive, Positive, Positive, Positive]
    layout: Literal["beta", "torchvision"]
    base_width: Positive
    stem: Literal["3x3x3", "7x7"]
    multi_grid: Grid


class MobileNetV2Config(_Own):
    """``deeplab.models.backbones.MobileNetV2``."""

    family: Literal["mobilenetv2"]
    width_mult: AboveZero
    divisor: Positive


class TimmConfig(_Backbone):
    """``deeplab.models.backbones.TimmEncoder``; null is what timm has."""

    family: Literal["timm"]
    model: Text
    mean: Color | None
    std: Deviation | None
    bn_eps: AboveZero | None
    bn_momentum: Momentum | None
    drop_path_rate: Annotated[Float, Field(ge=0, lt=1)] | None


BackboneConfig = Annotated[
    XceptionConfig | ResNetConfig | MobileNetV2Config | TimmConfig, Field(discriminator="family")
]


class AsppConfig(Schema):
    """``deeplab.models.aspp.ASPP``."""

    channels: Channels
    atrous_rates: tuple[Positive, ...]
    image_pooling: Bool
    separable: Bool
    dropout: Annotated[Float, Field(ge=0, lt=1)]
    weight_init: WeightInit
    bn_eps: AboveZero
    bn_momentum: Momentum


def _odd(kernel: int) -> int:
    if isinstance(kernel, int) and kernel % 2 == 0:
        raise ValueError("a kernel is odd")
    return kernel


class DecoderConfig(Schema):
    """``deeplab.models.decoder.Decoder``."""

    low_level: tuple[Text, ...]
    low_level_channels: Channels
    convs: tuple[tuple[Annotated[Positive, BeforeValidator(_odd)], Channels], ...]
    separable: Bool
    weight_init: WeightInit
    bn_eps: AboveZero
    bn_momentum: Momentum


class NetworkConfig(Schema):
    """What all networks have."""

    backbone: BackboneConfig


class ModelConfig(NetworkConfig):
    """The segmentation network: what ``deeplab.config.build_model.build_model`` needs."""

    aspp: AsppConfig
    decoder: DecoderConfig
    output_stride: Literal[8, 16, 32]
