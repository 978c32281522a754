"""MobileNetV2 (Sandler et al., arXiv 1801.04381), truncated as in the authors' DeepLab code.

Differences from the classification network:

1. it ends with the last inverted residual (320 channels), without the 1280-channel convolution;
2. the stride of a strided unit, which its depthwise convolution has, can be replaced by dilation;
3. the low-level features are depthwise outputs, after batch norm and ReLU6: of the second unit at
   stride 4, and of the last unit before the next stride at strides 8 and 16.

Differences from torchvision's MobileNetV2: the truncation, batch norm (epsilon 1e-3 and decay
0.997 here, 1e-5 and 0.9 there) and the input range (``[-1, 1]`` here); the latter two are
arguments. Channel counts are rounded to a multiple of ``divisor`` that is at least nine tenths of
the exact count; the authors' model of width 0.5 uses a divisor of 1.
"""

from typing import NamedTuple

from torch import Tensor, nn

from deeplab.models.backbones.base import Feature, Unit, UnitBackbone, UnitOutput
from deeplab.models.layers import Add, ConvNorm, initialize, set_batch_norm
from deeplab.models.normalization import INCEPTION
from deeplab.utils.settings import (
    AboveZero,
    InChannels,
    Mean,
    Momentum,
    Rate,
    Std,
    WeightInit,
    WidthMult,
)


class Row(NamedTuple):
    """A sequence of units with the same number of output channels; the first one is strided."""

    expansion: int
    channels: int
    stride: int
    units: int
    low_level: str = ""
    """Name of the low-level feature that the last unit's depthwise convolution returns."""


ROWS = (
    Row(1, 16, 1, 1),
    Row(6, 24, 2, 2, low_level="conv2"),
    Row(6, 32, 2, 3, low_level="conv3"),
    Row(6, 64, 2, 4),
    Row(6, 96, 1, 3, low_level="conv4"),
    Row(6, 160, 2, 3),
    Row(6, 320, 1, 1),
)


def scale_channels(channels: int, width_mult: float, divisor: int = 8) -> int:
    """Round ``channels * width_mult`` to a multiple of ``divisor``, not below 0.9 times it."""
    exact = channels * width_mult
    rounded = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * exact else rounded


class InvertedResidual(Unit):
    """Expand 1x1, depthwise 3x3, project 1x1; with an identity shortcut where shapes allow it.

    The shortcut depends on the nominal stride: a strided unit has none, even when dilation replaces
    its stride.
    """

    def __init__(self, in_channels: int, out_channels: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.stride, self.expands = stride, expansion > 1
        self.expand = (
            ConvNorm(in_channels, hidden, activation=nn.ReLU6) if self.expands else nn.Identity()
        )
        self.depthwise = ConvNorm(hidden, hidden, 3, groups=hidden, activation=nn.ReLU6)
        self.project = ConvNorm(hidden, out_channels, activation=None)
        self.add = Add() if stride == 1 and in_channels == out_channels else None

    def set_atrous(self, *, stride: int, dilation: int) -> None:
        """Set the stride and the dilation of the depthwise convolution."""
        self.depthwise.set_atrous(stride=stride, dilation=dilation)

    def forward(self, x: Tensor) -> UnitOutput:
        depthwise = self.depthwise(self.expand(x))
        output = self.project(depthwise)
        return UnitOutput(output if self.add is None else self.add(output, x), depthwise)


class MobileNetV2(UnitBackbone):
    """MobileNetV2 with 320 x ``width_mult`` output channels.

    Low-level features, with their channels at width 1: ``conv2`` (144, stride 4), ``conv3`` (192,
    stride 8) and ``conv4`` (576, stride 16).

    Args:
        width_mult: multiplier of all channel counts.
        divisor: channel counts are rounded to a multiple of it; 1 at the authors' width 0.5.
        in_channels: channels of the images; 3 for RGB.
        mean, std: normalization of the input per channel, from 0 to 255; by default to [-1, 1],
            which the authors' checkpoints expect. Three values are RGB's, which another number of
            channels repeats, and a single one averages.
        weight_init: standard deviation of a truncated normal, or a name that
            ``deeplab.models.layers.initialize`` explains; by default the authors'.
        bn_eps: epsilon of the batch norms.
        bn_momentum: PyTorch's momentum of the batch norms: 1 minus the authors' decay 0.997.
    """

    def __init__(
        self,
        width_mult: WidthMult = 1.0,
        *,
        divisor: Rate = 8,
        in_channels: InChannels = 3,
        mean: Mean = INCEPTION.mean,
        std: Std = INCEPTION.std,
        weight_init: WeightInit = 0.09,
        bn_eps: AboveZero = 1e-3,
        bn_momentum: Momentum = 3e-3,
    ) -> None:
        channels = scale_channels(32, width_mult, divisor)
        stem = ConvNorm(in_channels, channels, 3, stride=2, activation=nn.ReLU6)
        units: list[InvertedResidual] = []
        low_level_units: dict[str, tuple[int, Feature]] = {}
        stride = 2  # after the stem
        for row in ROWS:
            out_channels = scale_channels(row.channels, width_mult, divisor)
            stride *= row.stride
            for i in range(row.units):
                hidden = row.expansion * channels
                units.append(
                    InvertedResidual(
                        channels,
                        out_channels,
                        expansion=row.expansion,
                        stride=row.stride if i == 0 else 1,
                    )
                )
                channels = out_channels
            if row.low_level:
                low_level_units[row.low_level] = (len(units) - 1, Feature(hidden, stride))
        super().__init__(
            stem=stem,
            stem_stride=2,
            units=units,
            out_channels=channels,
            low_level_units=low_level_units,
            in_channels=in_channels,
            mean=mean,
            std=std,
        )
        initialize(self, weight_init)
        set_batch_norm(self, eps=bn_eps, momentum=bn_momentum)
