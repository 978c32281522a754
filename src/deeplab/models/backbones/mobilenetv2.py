"""MobileNetV2 (Sandler et al., arXiv 1801.04381) as the authors' DeepLab code cuts it.

What differs from the classification network:

1. it ends with the last inverted residual (320 channels); the 1280-channel convolution is gone;
2. the stride of a strided unit, which sits in its depthwise convolution, can become a rate;
3. the low-level features are depthwise outputs, after batch norm and ReLU6: of the second unit at
   stride 4, and of the last unit in front of the next stride at strides 8 and 16.

From torchvision's it differs in the cut and in batch norm (epsilon 1e-3 and decay 0.997 here, 1e-5
and 0.9 there) and the input range (``[-1, 1]`` here); all are arguments. Channel counts are rounded
to a multiple of ``divisor`` that is at least nine tenths of the exact count; the authors' model of
width 0.5 uses a divisor of 1.
"""

from typing import NamedTuple

from torch import Tensor, nn

from deeplab.models.backbones.base import Feature, Unit, UnitBackbone, UnitOutput
from deeplab.models.layers import Add, ConvNorm, WeightInit, initialize, set_batch_norm
from deeplab.models.normalization import INCEPTION


class Row(NamedTuple):
    """Units of one resolution or width; the first one has the stride."""

    expansion: int
    channels: int
    stride: int
    units: int
    tap: str = ""  # the last unit's depthwise output


ROWS = (
    Row(1, 16, 1, 1),
    Row(6, 24, 2, 2, tap="conv2"),
    Row(6, 32, 2, 3, tap="conv3"),
    Row(6, 64, 2, 4),
    Row(6, 96, 1, 3, tap="conv4"),
    Row(6, 160, 2, 3),
    Row(6, 320, 1, 1),
)


def scaled_channels(channels: int, width_mult: float, divisor: int = 8) -> int:
    """``channels * width_mult`` rounded to a multiple of ``divisor``, never below 0.9 of it."""
    exact = channels * width_mult
    rounded = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * exact else rounded


class InvertedResidual(Unit):
    """Expand 1x1, depthwise 3x3, project 1x1; an identity shortcut where shapes allow it.

    The shortcut depends on the nominal stride: a unit whose stride became a rate stays without.
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

    def set_atrous(self, *, stride: int, rate: int) -> None:
        """Both on the depthwise convolution."""
        self.depthwise.set_atrous(stride=stride, rate=rate)

    def forward(self, x: Tensor) -> UnitOutput:
        tap = self.depthwise(self.expand(x))
        output = self.project(tap)
        return UnitOutput(output if self.add is None else self.add(output, x), tap)


class MobileNetV2(UnitBackbone):
    """320 x ``width_mult`` channels out; ``conv2`` (stride 4), ``conv3`` (8) and ``conv4`` (16) to tap,
    144, 192 and 576 channels at width 1.

    Args:
        width_mult: channel multiplier.
        divisor: what channel counts are rounded to.
        mean, std: ``[-1, 1]`` by default, as the authors' checkpoints expect.
        weight_init, bn_eps, bn_momentum: see ``deeplab.models.layers``.
    """

    def __init__(
        self,
        width_mult: float = 1.0,
        *,
        divisor: int = 8,
        mean: tuple[float, float, float] = INCEPTION.mean,
        std: tuple[float, float, float] = INCEPTION.std,
        weight_init: WeightInit = 0.09,
        bn_eps: float = 1e-3,
        bn_momentum: float = 3e-3,
    ) -> None:
        in_channels = scaled_channels(32, width_mult, divisor)
        stem = ConvNorm(3, in_channels, 3, stride=2, activation=nn.ReLU6)
        units: list[InvertedResidual] = []
        taps: dict[str, tuple[int, Feature]] = {}
        stride = 2  # after the stem
        for row in ROWS:
            out_channels = scaled_channels(row.channels, width_mult, divisor)
            stride *= row.stride
            for i in range(row.units):
                hidden = row.expansion * in_channels
                units.append(
                    InvertedResidual(
                        in_channels,
                        out_channels,
                        expansion=row.expansion,
                        stride=row.stride if i == 0 else 1,
                    )
                )
                in_channels = out_channels
            if row.tap:
                taps[row.tap] = (len(units) - 1, Feature(hidden, stride))
        super().__init__(
            stem=stem,
            stem_stride=2,
            units=units,
            out_channels=in_channels,
            taps=taps,
            mean=mean,
            std=std,
        )
        initialize(self, weight_init)
        set_batch_norm(self, eps=bn_eps, momentum=bn_momentum)
