"""Images and label maps: reading, augmenting, batching. Independent of the network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bad_files": ["BadFileError"],
        "cache": ["DecodedCache", "use_cache"],
        "class_set": ["ClassSet", "voc_palette"],
        "datamodules": ["ClassificationData", "SegmentationData", "StreamData"],
        "dataset": ["SegmentationDataset"],
        "samplers": ["EvalSampler", "TrainSampler"],
        "transforms": ["EvalTransform", "TrainTransform", "Transform"],
    },
)
