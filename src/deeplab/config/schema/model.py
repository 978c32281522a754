"""Schemas of backbone, ASPP and decoder."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from deeplab.config.schema.types import (
    AboveZero,
    Bool,
    Channels,
    Color,
    Float,
    Grid,
    Momentum,
    NonNegative,
    Positive,
    Schema,
    Std,
    Text,
    WeightInit,
)


class _Backbone(Schema):
    """Keys of every backbone."""

    pretrained: Text | None = None
    weight_decay: NonNegative


class _NativeBackbone(_Backbone):
    """Keys of every backbone that this project implements."""

    mean: Color
    std: Std
    weight_init: WeightInit
    bn_eps: AboveZero
    bn_momentum: Momentum


class XceptionConfig(_NativeBackbone):
    """Keys of ``deeplab.models.backbones.Xception``."""

    family: Literal["xception"]
    depth: Literal[41, 65, 71]
    width_mult: Annotated[Float, Field(ge=0.0625, le=4)] = 1.0
    multi_grid: Grid


class ResNetConfig(_NativeBackbone):
    """Keys of ``deeplab.models.backbones.ResNet``."""

    family: Literal["resnet"]
    depth: Literal[50, 101] | tuple[Positive, Positive, Positive, Positive]
    layout: Literal["beta", "torchvision"]
    base_width: Positive
    stem: Literal["3x3x3", "7x7"]
    multi_grid: Grid


class MobileNetV2Config(_NativeBackbone):
    """Keys of ``deeplab.models.backbones.MobileNetV2``."""

    family: Literal["mobilenetv2"]
    width_mult: AboveZero
    divisor: Positive


class TimmConfig(_Backbone):
    """Keys of ``deeplab.models.backbones.TimmEncoder``; null stands for timm's own value."""

    family: Literal["timm"]
    model: Text
    mean: Color | None
    std: Std | None
    bn_eps: AboveZero | None
    bn_momentum: Momentum | None
    drop_path_rate: Annotated[Float, Field(ge=0, lt=1)] | None


BackboneConfig = Annotated[
    XceptionConfig | ResNetConfig | MobileNetV2Config | TimmConfig, Field(discriminator="family")
]


class AsppConfig(Schema):
    """Keys of ``deeplab.models.aspp.ASPP``."""

    channels: Channels
    atrous_rates: tuple[Positive, ...]
    image_pooling: Bool
    separable: Bool
    dropout: Annotated[Float, Field(ge=0, lt=1)]
    weight_init: WeightInit
    bn_eps: AboveZero
    bn_momentum: Momentum


def _check_odd(kernel_size: int) -> int:
    if isinstance(kernel_size, int) and kernel_size % 2 == 0:
        raise ValueError("the kernel size must be odd")
    return kernel_size


class DecoderConfig(Schema):
    """Keys of ``deeplab.models.decoder.Decoder``."""

    low_level: tuple[Text, ...]
    low_level_channels: Channels
    convs: tuple[tuple[Annotated[Positive, BeforeValidator(_check_odd)], Channels], ...]
    separable: Bool
    weight_init: WeightInit
    bn_eps: AboveZero
    bn_momentum: Momentum


class NetworkConfig(Schema):
    """Keys of every network."""

    backbone: BackboneConfig


class ModelConfig(NetworkConfig):
    """Keys of the segmentation network, for ``deeplab.config.build_model.build_model``."""

    aspp: AsppConfig
    decoder: DecoderConfig
    output_stride: Literal[8, 16, 32]
