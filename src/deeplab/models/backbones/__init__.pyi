from .base import Backbone, Feature
from .families import backbone_class, backbone_names
from .mobilenetv2 import MobileNetV2
from .resnet import ResNet
from .timm import TimmEncoder
from .xception import Xception

__all__ = [
    "Backbone",
    "Feature",
    "MobileNetV2",
    "ResNet",
    "TimmEncoder",
    "Xception",
    "backbone_class",
    "backbone_names",
]
