"""Atrous spatial pyramid pooling: the encoder's head (paper, section 3.1; DeepLabv3).

Departures from the paper: none known. Where text and code could be read differently: image
pooling averages over the whole map, whatever its size (the authors' code derives the extent from
the crop, so that training and evaluation crops of different sizes pool over different extents).
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from deeplab.models.layers import (
    Conv,
    ConvNorm,
    GlobalPool,
    PooledBatchNorm,
    SeparableConv,
    WeightInit,
    initialize,
    set_batch_norm,
)

REFERENCE_STRIDE = 16
"""The output stride at which the paper states its rates (6, 12, 18)."""


class ImagePooling(nn.Module):
    """The image-level feature: global mean, 1x1 convolution, spread over the map again."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.pool = GlobalPool()
        self.conv = Conv(in_channels, channels)
        self.norm = PooledBatchNorm(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.relu(self.norm(self.conv(self.pool(x))))  # (N, channels, 1, 1)
        return pooled.expand(-1, -1, *x.shape[-2:])  # bilinear from one pixel is a copy


class ASPP(nn.Module):
    """Image pooling, a 1x1 convolution and one 3x3 atrous convolution a rate, side by side; then
    a 1x1 convolution over their concatenation, and dropout.

    Args:
        in_channels: channels of the backbone's output.
        channels: of every branch and of the result.
        atrous_rates: at output stride 16; ``set_output_stride`` scales them. Empty: no atrous branch.
        image_pooling: whether there is the image-level branch (not in Table 7's best rows).
        separable: depthwise separable 3x3 convolutions ("SC" of Table 5).
        dropout: probability, behind the projection.
        weight_init, bn_eps, bn_momentum: see ``deeplab.models.layers``.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int = 256,
        atrous_rates: Sequence[int] = (6, 12, 18),
        image_pooling: bool = True,
        separable: bool = False,
        dropout: float = 0.1,
        weight_init: WeightInit = "head",
        bn_eps: float = 1e-5,
        bn_momentum: float = 3e-4,
    ) -> None:
        super().__init__()
        atrous = SeparableConv if separable else ConvNorm
        self.atrous_rates = tuple(atrous_rates)
        self.out_channels = channels
        self.image_pooling = ImagePooling(in_channels, channels) if image_pooling else None
        self.conv = ConvNorm(in_channels, channels)
        self.atrous = nn.ModuleList(atrous(in_channels, channels, 3) for _ in atrous_rates)
        branches = bool(image_pooling) + 1 + len(self.atrous_rates)
        self.project = ConvNorm(branches * channels, channels)
        self.dropout = nn.Dropout(dropout)
        self.set_output_stride(REFERENCE_STRIDE)
        initialize(self, weight_init)
        set_batch_norm(self, eps=bn_eps, momentum=bn_momentum)

    def set_output_stride(self, output_stride: int) -> None:
        """Scale the rates so that they cover the same part of the image.

        Raises ValueError where a rate would not be a whole number.
        """
        branches = cast(Sequence[ConvNorm | SeparableConv], self.atrous)
        for branch, rate in zip(branches, self.atrous_rates, strict=True):
            branch.set_atrous(stride=1, rate=scaled_rate(rate, output_stride))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in_channels, h, w)`` to ``(N, channels, h, w)``."""
        branches = [] if self.image_pooling is None else [self.image_pooling(x)]
        branches.append(self.conv(x))
        branches.extend(branch(x) for branch in self.atrous)
        return self.dropout(self.project(torch.cat(branches, dim=1)))


def scaled_rate(rate: int, output_stride: int) -> int:
    """The rate at ``output_stride`` that corresponds to ``rate`` at output stride 16."""
    scaled, rest = divmod(rate * REFERENCE_STRIDE, output_stride)
    if rest or scaled < 1:
        raise ValueError(
            f"ASPP rate {rate} (at output stride {REFERENCE_STRIDE}) is no whole number at output "
            f"stride {output_stride}; use even rates there"
        )
    return scaled
