"""DeepLabv3+ (Chen et al. 2018, arXiv 1802.02611): network, training, evaluation and ablations.

>>> model = deeplab.create_model("resnet50", num_classes=21)   # a plain nn.Module
>>> deeplab.list_models("resnet*")
>>> run = deeplab.train("folder", root="/path/to/mine")        # as deeplab train does
>>> run.result.miou, deeplab.evaluate(run, strategies=["os8-ms-flip"])
>>> deeplab.load("runs/NAME").predict("photo.jpg")             # shows itself in a notebook

What it offers is listed in ``__init__.pyi`` and imported when it is used, so that
``import deeplab`` does not load torch.
"""

import sys

import lazy_loader

if sys.platform == "win32":
    raise ImportError(
        "deeplab needs Linux or macOS (locks of files, signals). On Windows run it in the Windows "
        "Subsystem for Linux."
    )

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.2.0"
