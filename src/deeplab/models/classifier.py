"""A backbone as a classifier of whole pictures, as it is pretrained on ImageNet (Table 4).

Its weights are ``backbone.*``, which a segmentation network can start from, and ``classifier.*``.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from deeplab.models.backbones.base import Backbone
from deeplab.models.layers import Conv, GlobalPool, Normalize, initialize

OUTPUT_STRIDE = 32
"""Of classification: nothing is atrous."""


class Classifier(nn.Module):
    """Backbone, mean over the map, dropout, and a 1x1 convolution to the logits.

    Args:
        backbone: the feature extractor; it also states how its input is normalized.
        num_classes: classes; there is none for "nothing of it".
        dropout: the part of the features that is set to 0 in training.
    """

    def __init__(self, backbone: Backbone, *, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.normalize = Normalize(backbone.mean, backbone.std)
        self.backbone = backbone
        backbone.set_output_stride(OUTPUT_STRIDE)
        self.pool = GlobalPool()
        self.dropout = nn.Dropout(dropout)
        self.classifier = Conv(backbone.out_channels, num_classes, bias=True)
        initialize(self.classifier, 0.01)  # as the segmentation network's logits; bias 0

    @property
    def num_classes(self) -> int:
        return self.classifier.out_channels

    def forward(self, images: Tensor) -> Tensor:
        """RGB images ``(N, 3, H, W)``, 0 to 255 of any dtype, to float32 logits
        ``(N, num_classes)``."""
        features = self.backbone(self.normalize(images))["output"]  # (N, C, H/32, W/32)
        with _in_float32(features.device.type):
            pooled = self.dropout(self.pool(features.float()))  # (N, C, 1, 1)
            return self.classifier(pooled).flatten(1)


def _in_float32(device: str) -> AbstractContextManager[Any]:
    """Without mixed precision: of a thousand logits in bfloat16 several are often the highest."""
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)
