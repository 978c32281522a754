"""Atrous spatial pyramid pooling: the encoder's head (paper, section 3.1; DeepLabv3).

Departures from the paper: none known. Text and code can be read differently in one place: here
image pooling averages over the whole map, whatever its size (the authors' code derives the extent
from the crop, so that training and evaluation crops of different sizes pool over different
extents).
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from deeplab.models.layers import (
    Conv,
    ConvNorm,
    GlobalPool,
    PooledBatchNorm,
    SeparableConv,
    initialize,
    set_batch_norm,
)
from deeplab.utils.constants import BN_MOMENTUM
from deeplab.utils.settings import (
    AboveZero,
    BelowOne,
    Bool,
    Channels,
    Momentum,
    Rates,
    WeightInit,
)

REFERENCE_STRIDE = 16
"""Output stride at which the paper states its atrous rates (6, 12, 18)."""


class ImagePooling(nn.Module):
    """Image-level feature: global mean and 1x1 convolution, expanded to the size of the map."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.pool = GlobalPool()
        self.conv = Conv(in_channels, channels)
        self.norm = PooledBatchNorm(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.relu(self.norm(self.conv(self.pool(x))))  # (N, channels, 1, 1)
        return pooled.expand(-1, -1, *x.shape[-2:])  # equals bilinear resizing from one pixel


class ASPP(nn.Module):
    """Parallel branches, a 1x1 convolution over their concatenation, and dropout.

    The branches are image pooling, a 1x1 convolution and one 3x3 atrous convolution per rate.

    Args:
        in_channels: channels of the backbone's output.
        channels: channels of every branch and of the result.
        atrous_rates: atrous rates at output stride 16, doubled at 8 and halved at 32; null for no
            atrous branch.
        image_pooling: add the image-level branch (not in Table 7's best rows).
        separable: use depthwise separable 3x3 convolutions ("SC" of Table 5).
        dropout: dropout probability after the projection.
        depthwise_norm: batch norm and ReLU also after the depthwise part of separable convolutions,
            as in the authors' code; other libraries have none there.
        weight_init: ``head``, the authors': Xavier, for separable convolutions 0.33 (depthwise) and
            0.06 (pointwise); or another value of ``deeplab.models.layers.initialize``.
        bn_eps: epsilon of the batch norms.
        bn_momentum: PyTorch's momentum of the batch norms: 1 minus the authors' decay 0.9997.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: Channels = 256,
        atrous_rates: Rates | None = (6, 12, 18),
        image_pooling: Bool = True,
        separable: Bool = False,
        depthwise_norm: Bool = True,
        dropout: BelowOne = 0.1,
        weight_init: WeightInit = "head",
        bn_eps: AboveZero = 1e-5,
        bn_momentum: Momentum = BN_MOMENTUM,
    ) -> None:
        super().__init__()
        atrous = partial(SeparableConv, depthwise_norm=depthwise_norm) if separable else ConvNorm
        self.atrous_rates = tuple(atrous_rates or ())
        self.out_channels = channels
        self.image_pooling = ImagePooling(in_channels, channels) if image_pooling else None
        self.conv = ConvNorm(in_channels, channels)
        self.atrous = nn.ModuleList(atrous(in_channels, channels, 3) for _ in self.atrous_rates)
        branches = bool(image_pooling) + 1 + len(self.atrous_rates)
        self.project = ConvNorm(branches * channels, channels)
        self.dropout = nn.Dropout(dropout)
        self.set_output_stride(REFERENCE_STRIDE)
        initialize(self, weight_init)
        set_batch_norm(self, eps=bn_eps, momentum=bn_momentum)

    def set_output_stride(self, output_stride: int) -> None:
        """Scale the atrous rates so that they cover the same part of the image.

        Raises:
            ValueError: a rate would not be a whole number.
        """
        branches = cast(Sequence[ConvNorm | SeparableConv], self.atrous)
        for branch, rate in zip(branches, self.atrous_rates, strict=True):
            branch.set_atrous(stride=1, dilation=scale_atrous_rate(rate, output_stride))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, h, w)`` to ``(N, channels, h, w)``."""
        branches = [] if self.image_pooling is None else [self.image_pooling(x)]
        branches.append(self.conv(x))
        branches.extend(branch(x) for branch in self.atrous)
        return self.dropout(self.project(torch.cat(branches, dim=1)))


def scale_atrous_rate(rate: int, output_stride: int) -> int:
    """Return the rate at ``output_stride`` that corresponds to ``rate`` at output stride 16."""
    scaled, remainder = divmod(rate * REFERENCE_STRIDE, output_stride)
    if remainder or scaled < 1:
        raise ValueError(
            f"ASPP rate {rate} (at output stride {REFERENCE_STRIDE}) is not a whole number at "
            f"output stride {output_stride}. Use even rates at this output stride"
        )
    return scaled
