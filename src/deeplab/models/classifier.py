"""Image classifier for pretraining a backbone on ImageNet (Table 4).

Its weights are ``backbone.*``, from which a segmentation network can be initialized, and
``classifier.*``.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from deeplab.models.backbones.base import Backbone
from deeplab.models.layers import Conv, GlobalPool, at_least_float32, initialize
from deeplab.models.network import Network
from deeplab.utils.constants import LOGITS_STD
from deeplab.utils.settings import WeightInit

OUTPUT_STRIDE = 32
"""Output stride of classification: no convolution is atrous."""


class Classifier(Network):
    """Backbone, mean over the map, dropout, and a 1x1 convolution to the logits.

    Args:
        backbone: the feature extractor; it also defines the input normalization.
        num_classes: number of classes; there is no background class.
        dropout: fraction of the features that is set to 0 in training.
        logits_init: initialization of the logits' weights, as in the segmentation network.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_classes: int,
        dropout: float = 0.0,
        logits_init: WeightInit = LOGITS_STD,
    ) -> None:
        super().__init__(backbone)
        backbone.set_output_stride(OUTPUT_STRIDE)
        self.pool = GlobalPool()
        self.dropout = nn.Dropout(dropout)
        self.classifier = Conv(backbone.out_channels, num_classes, bias=True)
        initialize(self.classifier, logits_init)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.classifier.out_channels

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(N, num_classes)`` of RGB images, of float32 at least.

        Args:
            images: ``(N, in_channels, H, W)``, 0 to 255, of any dtype.
        """
        features = self.backbone(self.normalize(images))["output"]  # (N, C, H/32, W/32)
        with _in_float32(features.device.type):
            features = features.to(at_least_float32(features.dtype))
            pooled = self.dropout(self.pool(features))  # (N, C, 1, 1)
            return self.classifier(pooled).flatten(1)


def _in_float32(device: str) -> AbstractContextManager[Any]:
    """Turn mixed precision off: among a thousand bfloat16 logits several often tie for the top."""
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)
