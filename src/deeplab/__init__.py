"""DeepLabv3+ (Chen et al. 2018, arXiv 1802.02611): network, training, evaluation and ablations.

Packages are imported when they are used, so that ``--help`` of a script does not load torch.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, _packages = lazy_loader.attach(
    __name__,
    submodules=[
        "ablations", "checkpoints", "config", "data", "evaluation", "inference", "metrics",
        "models",
        "preparation", "tools", "tracking", "training", "utils",
    ],
)  # fmt: skip
__all__ = ["__version__", *_packages]
