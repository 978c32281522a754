"""DeepLabv3+ (Chen et al. 2018, arXiv 1802.02611): network, training, evaluation and ablations.

Packages are imported when they are used, so that ``--help`` of a script does not load torch.
"""

__version__ = "0.2.0"
