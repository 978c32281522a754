"""Modified aligned Xception 41, 65 and 71 (paper, section 3.2 and Figure 4; the authors' code).

Differences from Chollet's Xception (arXiv 1610.02357), as the paper lists them:

1. a deeper entry, middle and exit flow (deeper than in the aligned Xception of Dai et al.);
2. every max-pooling is a strided separable convolution, so that dilation can replace its stride;
3. batch norm after every 3x3 depthwise convolution.

Where the released code and checkpoints differ from the paper's text, this file follows the code:

4. the paper also puts a ReLU after every depthwise batch norm. The code does so only in the last
   block; all others have one ReLU before each separable convolution and none inside;
5. the third separable convolution of a block has the stride, and there is no activation after the
   shortcut's addition;
6. the low-level feature is the second separable convolution of the block that strides to the
   next resolution, after its batch norm and before any ReLU: 256 channels at stride 4.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, cast

from torch import Tensor, nn

from deeplab.models.backbones.base import Feature, Unit, UnitBackbone, UnitOutput
from deeplab.models.layers import (
    Add,
    ConvNorm,
    SeparableConv,
    initialize,
    set_batch_norm,
)
from deeplab.models.normalization import INCEPTION
from deeplab.utils.constants import BN_MOMENTUM
from deeplab.utils.settings import (
    INTEGER,
    AboveZero,
    Grid,
    InChannels,
    Mean,
    Momentum,
    Std,
    WeightInit,
    WidthMult,
)

STEM_STRIDE = 2
"""Stride of the entry flow's first convolution, and with it of the stem."""


class Row(NamedTuple):
    """A block of Figure 4: identical units, of which only the last one is strided."""

    channels: tuple[int, int, int]
    skip: Literal["conv", "sum", "none"]
    stride: int = 1
    units: int = 1
    low_level: str = ""
    """Name of the low-level feature that the last unit returns."""


def _exit_flow() -> tuple[Row, Row]:
    return (
        Row((728, 1024, 1024), "conv", stride=2, low_level="conv4"),
        Row((1536, 1536, 2048), "none"),
    )


def _same(channels: int) -> tuple[int, int, int]:
    return (channels, channels, channels)


_ENTRY_41_65 = (
    Row(_same(128), "conv", stride=2),
    Row(_same(256), "conv", stride=2, low_level="conv2"),
    Row(_same(728), "conv", stride=2, low_level="conv3"),
)
_ENTRY_71 = (
    Row(_same(128), "conv", stride=2),
    Row(_same(256), "conv"),
    Row(_same(256), "conv", stride=2, low_level="conv2"),
    Row(_same(728), "conv"),
    Row(_same(728), "conv", stride=2, low_level="conv3"),
)
ROWS: dict[int, tuple[Row, ...]] = {
    41: (*_ENTRY_41_65, Row(_same(728), "sum", units=8), *_exit_flow()),
    65: (*_ENTRY_41_65, Row(_same(728), "sum", units=16), *_exit_flow()),
    71: (*_ENTRY_71, Row(_same(728), "sum", units=16), *_exit_flow()),
}


class XceptionUnit(Unit):
    """Three separable convolutions and a shortcut.

    The low-level feature is the second convolution's output.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int],
        *,
        skip: Literal["conv", "sum", "none"],
        stride: int,
        multi_grid: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.stride, self.multi_grid = stride, multi_grid
        activation: Literal["before", "after"] = "after" if skip == "none" else "before"
        sizes = (in_channels, *channels)
        self.separable = nn.ModuleList(
            SeparableConv(sizes[i], sizes[i + 1], activation=activation) for i in range(3)
        )
        if skip == "conv":
            self.skip = ConvNorm(in_channels, channels[-1], activation=None)
        self.add = None if skip == "none" else Add()

    def set_atrous(self, *, stride: int, dilation: int) -> None:
        """Set the stride of the third convolution and the shortcut, and the dilation of all three.

        Each dilation is multiplied by the convolution's multi-grid factor.
        """
        convs = cast(Sequence[SeparableConv], self.separable)
        for i, (conv, grid) in enumerate(zip(convs, self.multi_grid, strict=True)):
            conv.set_atrous(stride=stride if i == 2 else 1, dilation=dilation * grid)
        if hasattr(self, "skip"):
            self.skip.set_atrous(stride=stride, dilation=1)

    def forward(self, x: Tensor) -> UnitOutput:
        first, second, third = self.separable
        low_level = second(first(x))
        output = third(low_level)
        if self.add is not None:
            output = self.add(output, self.skip(x) if hasattr(self, "skip") else x)
        return UnitOutput(output, low_level)


class Xception(UnitBackbone):
    """The Xception of Table 5, with 2048 output channels.

    Low-level features: ``conv2`` (256 channels, stride 4), ``conv3`` (stride 8) and ``conv4``
    (stride 16).

    Args:
        depth: 41, 65 or 71.
        width_mult: multiplier of all channel counts; 1 in the paper.
        multi_grid: factors of the atrous rates of the last block's three convolutions; it does not
            help Xception (section 4.3).
        in_channels: channels of the images; 3 for RGB.
        mean, std: normalization of the input per channel, from 0 to 255; by default to [-1, 1],
            which the authors' checkpoints expect. Three values are RGB's, which another number of
            channels repeats, and a single one averages.
        weight_init: standard deviation of a truncated normal, or a name that
            ``deeplab.models.layers.initialize`` explains; by default the authors'.
        bn_eps: epsilon of the batch norms.
        bn_momentum: PyTorch's momentum of the batch norms: 1 minus the authors' decay 0.9997.

    Raises:
        ValueError: the depth is not known.
    """

    def __init__(
        self,
        depth: Annotated[Literal[41, 65, 71], INTEGER] = 65,
        *,
        width_mult: WidthMult = 1.0,
        multi_grid: Grid = (1, 1, 1),
        in_channels: InChannels = 3,
        mean: Mean = INCEPTION.mean,
        std: Std = INCEPTION.std,
        weight_init: WeightInit = 0.09,
        bn_eps: AboveZero = 1e-3,
        bn_momentum: Momentum = BN_MOMENTUM,
    ) -> None:
        if depth not in ROWS:
            choices = ", ".join(map(str, ROWS))
            raise ValueError(f"depth={depth}: not a known Xception. Choose from {choices}")
        rows = [_scale_channels(row, width_mult) for row in ROWS[depth]]
        first, second = int(32 * width_mult), int(64 * width_mult)
        units, low_level_units = _build_units(rows, in_channels=second, multi_grid=multi_grid)
        super().__init__(
            stem=nn.Sequential(
                ConvNorm(in_channels, first, 3, stride=STEM_STRIDE), ConvNorm(first, second, 3)
            ),
            stem_stride=STEM_STRIDE,
            units=units,
            out_channels=rows[-1].channels[-1],
            low_level_units=low_level_units,
            in_channels=in_channels,
            mean=mean,
            std=std,
        )
        self.depth = depth
        initialize(self, weight_init)
        set_batch_norm(self, eps=bn_eps, momentum=bn_momentum)


def _scale_channels(row: Row, width_mult: float) -> Row:
    first, second, third = (int(channels * width_mult) for channels in row.channels)
    return row._replace(channels=(first, second, third))


def _build_units(
    rows: Sequence[Row], *, in_channels: int, multi_grid: tuple[int, int, int]
) -> tuple[list[XceptionUnit], dict[str, tuple[int, Feature]]]:
    units: list[XceptionUnit] = []
    low_level_units: dict[str, tuple[int, Feature]] = {}
    stride = STEM_STRIDE
    for row in rows:
        for i in range(row.units):
            last = i == row.units - 1
            units.append(
                XceptionUnit(
                    in_channels,
                    row.channels,
                    skip=row.skip,
                    stride=row.stride if last else 1,
                    multi_grid=multi_grid if row is rows[-1] else (1, 1, 1),
                )
            )
            in_channels = row.channels[-1]
        if row.low_level:
            feature = Feature(row.channels[1], stride)
            low_level_units[row.low_level] = (len(units) - 1, feature)
        stride *= row.stride
    return units, low_level_units
