from .bad_files import BadFileError
from .cache import DecodedCache, use_cache
from .class_set import ClassSet, voc_palette
from .datamodules import ClassificationData, SegmentationData, StreamData
from .dataset import SegmentationDataset
from .samplers import EvalSampler, TrainSampler
from .transforms import EvalTransform, TrainTransform, Transform

__all__ = [
    "BadFileError",
    "ClassSet",
    "ClassificationData",
    "DecodedCache",
    "EvalSampler",
    "EvalTransform",
    "SegmentationData",
    "SegmentationDataset",
    "StreamData",
    "TrainSampler",
    "TrainTransform",
    "Transform",
    "use_cache",
    "voc_palette",
]
