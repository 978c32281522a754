"""DeepLabv3+ (Chen et al. 2018, arXiv 1802.02611): network, training, evaluation and ablations.

>>> model = deeplab.create_model("resnet50", num_classes=21)   # a plain nn.Module
>>> deeplab.list_models("resnet*")
>>> run = deeplab.train("folder", root="/path/to/mine")        # as deeplab train does
>>> run.result.miou, deeplab.evaluate(run, strategies=["os8-ms-flip"])
>>> deeplab.load("runs/NAME").predict("photo.jpg")             # shows itself in a notebook

Packages are imported when they are used, so that ``import deeplab`` does not load torch.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from deeplab.api import (
        Run,
        create_datamodule,
        create_model,
        evaluate,
        list_models,
        load,
        train,
    )
    from deeplab.training.segmentation import SegmentationModule
    from deeplab.utils.errors import UserError

    __all__ = [
        "Run",
        "SegmentationModule",
        "UserError",
        "create_datamodule",
        "create_model",
        "evaluate",
        "list_models",
        "load",
        "train",
    ]
else:
    __getattr__, __dir__, __all__ = lazy_loader.attach(
        __name__,
        submodules=["data", "inference", "metrics", "models", "training"],
        submod_attrs={
            "api": [
                "Run",
                "create_datamodule",
                "create_model",
                "evaluate",
                "list_models",
                "load",
                "train",
            ],
            "training.segmentation": ["SegmentationModule"],
            "utils.errors": ["UserError"],
        },
    )

__version__ = "0.2.0"
