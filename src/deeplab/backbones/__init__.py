"""The backbones by family name. A new one: a file here and a row below."""

from deeplab.backbones.base import OUTPUT_STRIDES, Backbone, Feature
from deeplab.backbones.mobilenet import MobileNetV2
from deeplab.backbones.resnet import ResNet
from deeplab.backbones.timm_encoder import TimmEncoder
from deeplab.backbones.xception import Xception

BACKBONES: dict[str, type[Backbone]] = {
    "xception": Xception,
    "resnet": ResNet,
    "mobilenetv2": MobileNetV2,
    "timm": TimmEncoder,
}

__all__ = [
    "BACKBONES",
    "OUTPUT_STRIDES",
    "Backbone",
    "Feature",
    "MobileNetV2",
    "ResNet",
    "TimmEncoder",
    "Xception",
]
