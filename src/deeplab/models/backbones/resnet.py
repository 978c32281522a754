"""ResNet v1 with bottleneck units, in the authors' "beta" layout or in torchvision's.

``layout="beta"`` (TF-slim's ``resnet_v1_*_beta``, which the paper's multiply-adds imply):

1. three 3x3 convolutions of 64, 64 and 128 channels, the first one strided, replace the 7x7 stem
   (Inception style); ``stem="7x7"`` gives slim's plain ``resnet_v1_*``, whose input is the image
   minus its mean (``mean=(123.15, 115.9, 103.06), std=(1, 1, 1)``);
2. the stride of blocks 1 to 3 is in the 3x3 convolution of their last unit, and a strided unit
   without projection subsamples its shortcut;
3. multi-grid (DeepLabv3): the units of block 4 multiply the atrous rate by 1, 2 and 4;
4. the low-level feature is the last batch norm of the residual branch of the unit before the
   strided one, before the addition and before the ReLU.

``layout="torchvision"`` (He et al. with the stride in the 3x3 convolution, ResNet "v1.5"):

1. the 7x7 stem;
2. the stride of blocks 2 to 4 is in the 3x3 convolution of their first unit and in its projection;
3. no multi-grid by default;
4. the low-level feature is a block's output, after its ReLU, as in the ports that use these
   weights. This departs from the paper's code.

Multi-grid stays on at every output stride: the published multiply-adds of the rows trained at
output stride 32 can only be reproduced with it.
"""

from typing import Annotated, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from deeplab.models.backbones.base import Feature, Unit, UnitBackbone, UnitOutput
from deeplab.models.layers import Add, ConvNorm, Subsample, initialize, set_batch_norm
from deeplab.models.normalization import INCEPTION
from deeplab.utils.constants import BN_MOMENTUM
from deeplab.utils.settings import (
    INTEGER,
    AboveZero,
    Channels,
    Grid,
    InChannels,
    Mean,
    Momentum,
    Std,
    Units,
    WeightInit,
)

EXPANSION = 4
"""Ratio of a bottleneck's output channels to its width."""

UNITS_PER_BLOCK: dict[int, tuple[int, int, int, int]] = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Number of units in each of the four blocks, by depth."""


class BottleneckUnit(Unit):
    """1x1, 3x3 and 1x1 convolutions around a shortcut."""

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int,
        grid: int,
        low_level: Literal["branch", "output"],
    ) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.stride, self.grid, self.low_level = stride, grid, low_level
        self.conv1 = ConvNorm(in_channels, width)
        self.conv2 = ConvNorm(width, width, 3)
        self.conv3 = ConvNorm(width, out_channels, activation=None)
        self.shortcut: ConvNorm | Subsample = (
            Subsample()
            if in_channels == out_channels
            else ConvNorm(in_channels, out_channels, activation=None)
        )
        self.add = Add()

    def set_atrous(self, *, stride: int, dilation: int) -> None:
        """Set the stride of the 3x3 convolution and the shortcut, and the former's dilation.

        The dilation is multiplied by the unit's multi-grid factor.
        """
        self.conv2.set_atrous(stride=stride, dilation=dilation * self.grid)
        if isinstance(self.shortcut, Subsample):
            self.shortcut.stride = stride
        else:
            self.shortcut.set_atrous(stride=stride, dilation=1)

    def forward(self, x: Tensor) -> UnitOutput:
        branch = self.conv3(self.conv2(self.conv1(x)))
        output = F.relu(self.add(branch, self.shortcut(x)), inplace=True)
        return UnitOutput(output, branch if self.low_level == "branch" else output)


class ResNet(UnitBackbone):
    """The ResNet of Tables 1 to 3, with 2048 output channels.

    Low-level features: ``conv2`` (256 channels, stride 4), ``conv3`` (512, stride 8) and ``conv4``
    (1024, stride 16).

    Args:
        depth: 50 or 101; or the number of units in each of the four blocks.
        layout: position of strides and low-level features: ``beta`` is the authors', with the
            stride in a block's last unit; ``torchvision`` has it in the first.
        base_width: bottleneck width of the first block; 64 in the paper.
        stem: first convolutions: the authors' three 3x3, or one 7x7.
        multi_grid: factors of the atrous rates of the last block's units, DeepLabv3's; the
            published multiply-adds include it.
        in_channels: channels of the images; 3 for RGB.
        mean, std: normalization of the input per channel, from 0 to 255; by default to [-1, 1],
            which the authors' checkpoints expect. Three values are RGB's, which another number of
            channels repeats, and a single one averages.
        weight_init: standard deviation of a truncated normal, or a name that
            ``deeplab.models.layers.initialize`` explains; by default the authors'.
        bn_eps: epsilon of the batch norms.
        bn_momentum: PyTorch's momentum of the batch norms: 1 minus the authors' decay 0.9997
            (DeepLabv3's text; the late code has 0.95 for ResNets).

    Raises:
        ValueError: the depth is not known, or does not suit the layout.
    """

    def __init__(
        self,
        depth: Annotated[Literal[50, 101], INTEGER] | tuple[Units, Units, Units, Units] = 101,
        *,
        layout: Literal["beta", "torchvision"] = "beta",
        base_width: Channels = 64,
        stem: Literal["3x3x3", "7x7"] = "3x3x3",
        multi_grid: Grid = (1, 2, 4),
        in_channels: InChannels = 3,
        mean: Mean = INCEPTION.mean,
        std: Std = INCEPTION.std,
        weight_init: WeightInit = "variance_scaling",
        bn_eps: AboveZero = 1e-5,
        bn_momentum: Momentum = BN_MOMENTUM,
    ) -> None:
        units_per_block = UNITS_PER_BLOCK.get(depth, ()) if isinstance(depth, int) else depth
        if len(units_per_block) != 4:
            choices = ", ".join(map(str, UNITS_PER_BLOCK))
            raise ValueError(
                f"depth={depth}: not a known ResNet. Choose from {choices}, or give the number of "
                "units of each of the four blocks"
            )
        if layout == "beta" and 1 in units_per_block[:3]:
            raise ValueError(
                f"depth={depth}: ResNet's beta layout needs at least two units in each of the "
                "first three blocks, because the second to last one returns the low-level feature"
            )
        units, low_level_units = _build_units(
            units_per_block,
            in_channels=2 * base_width if stem == "3x3x3" else base_width,
            width=base_width,
            layout=layout,
            multi_grid=multi_grid,
        )
        super().__init__(
            stem=_build_stem(stem, in_channels, base_width),
            stem_stride=4,
            units=units,
            out_channels=8 * base_width * EXPANSION,
            low_level_units=low_level_units,
            in_channels=in_channels,
            mean=mean,
            std=std,
        )
        self.layout, self.units_per_block = layout, tuple(units_per_block)
        initialize(self, weight_init)
        set_batch_norm(self, eps=bn_eps, momentum=bn_momentum)


def _build_stem(stem: Literal["3x3x3", "7x7"], in_channels: int, width: int) -> nn.Sequential:
    if stem == "7x7":
        convs = [ConvNorm(in_channels, width, 7, stride=2)]
    else:
        convs = [
            ConvNorm(in_channels, width, 3, stride=2),
            ConvNorm(width, width, 3),
            ConvNorm(width, 2 * width, 3),
        ]
    return nn.Sequential(*convs, nn.MaxPool2d(3, stride=2, padding=1))


def _build_units(
    units_per_block: tuple[int, ...],
    *,
    in_channels: int,
    width: int,
    layout: Literal["beta", "torchvision"],
    multi_grid: tuple[int, int, int],
) -> tuple[list[BottleneckUnit], dict[str, tuple[int, Feature]]]:
    units: list[BottleneckUnit] = []
    low_level_units: dict[str, tuple[int, Feature]] = {}
    beta = layout == "beta"
    for block, count in enumerate(units_per_block):
        block_width = width * 2**block
        strided_unit = count - 1 if beta else 0
        has_stride = block < 3 if beta else block > 0
        for i in range(count):
            units.append(
                BottleneckUnit(
                    in_channels,
                    block_width,
                    stride=2 if has_stride and i == strided_unit else 1,
                    grid=multi_grid[i % len(multi_grid)] if block == 3 else 1,
                    low_level="branch" if beta else "output",
                )
            )
            in_channels = EXPANSION * block_width
        if block < 3:
            index = len(units) - (2 if beta else 1)  # beta: the unit before the strided one
            feature = Feature(in_channels, 4 * 2**block)
            low_level_units[f"conv{block + 2}"] = (index, feature)
    return units, low_level_units
