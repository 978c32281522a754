"""DeepLabv3+ (Chen et al. 2018, arXiv 1802.02611): network, training, evaluation and cost.

Import the part that is needed (``from deeplab.models.deeplabv3plus import DeepLabV3Plus``); this file
imports nothing, so that a script's ``--help`` does not wait for torch.
"""

__version__ = "0.2.0"
