from .aspp import ASPP, ImagePooling
from .classifier import Classifier
from .decoder import Decoder, DecoderStage
from .deeplabv3plus import DeepLabV3Plus
from .flops import Cost, measure_cost
from .normalization import Normalization

__all__ = [
    "ASPP",
    "Classifier",
    "Cost",
    "Decoder",
    "DecoderStage",
    "DeepLabV3Plus",
    "ImagePooling",
    "Normalization",
    "measure_cost",
]
