"""The backbones by family name. To add one, add a file here and an entry to ``BACKBONES``."""

from deeplab.models.backbones.base import OUTPUT_STRIDES, Backbone, Feature
from deeplab.models.backbones.mobilenetv2 import MobileNetV2
from deeplab.models.backbones.resnet import ResNet
from deeplab.models.backbones.timm_encoder import TimmEncoder
from deeplab.models.backbones.xception import Xception

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
