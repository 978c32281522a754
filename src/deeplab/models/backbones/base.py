"""What a backbone is to the rest of the network, and how those are built that this project defines:
a stem, units in order, and the features that they state.

The rule that turns an output stride into strides and rates lives here, once for all of these.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn

OUTPUT_STRIDES = (8, 16, 32)
"""The output strides that the paper uses."""


class Feature(NamedTuple):
    """One feature map: its channels and its stride against the input."""

    channels: int
    stride: int


class UnitOutput(NamedTuple):
    """A unit's output and the inner map that the decoder may tap."""

    output: Tensor
    tap: Tensor


class Unit(nn.Module):
    """The smallest part of a backbone that can lose its stride: ``forward`` gives a UnitOutput."""

    stride: int
    """The stride that it has when nothing is atrous."""

    def set_atrous(self, *, stride: int, rate: int) -> None:
        """Run at this stride and this rate."""
        raise NotImplementedError


class Backbone(nn.Module):
    """What ASPP, decoder and recipe ask of a feature extractor.

    A subclass sets the attributes and gives ``set_output_stride`` and ``forward``.
    """

    low_level: dict[str, Feature]
    """What the decoder may tap, by name, each at the stride that it has when nothing is atrous:
    ``conv2`` at 4, ``conv3`` at 8, ``conv4`` at 16."""
    out_channels: int
    """Channels of the last feature map."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """The input normalization that the family's public weights expect, per color in RGB order, on
    the scale 0 to 255."""
    output_stride: int
    """At present."""

    def set_output_stride(self, output_stride: int) -> None:
        """Make the last feature map this many times smaller than the image; the state dict does
        not change.

        Raises:
            ValueError: this network cannot.
        """
        raise NotImplementedError

    @property
    def features(self) -> dict[str, Feature]:
        """Channels and stride of all that ``forward`` returns, at the present output stride."""
        features = {
            name: Feature(f.channels, min(f.stride, self.output_stride))
            for name, f in self.low_level.items()
        }
        return features | {"output": Feature(self.out_channels, self.output_stride)}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Normalized images ``(N, 3, H, W)`` to features ``(N, channels, H/stride, W/stride)``,
        each side floor((n - 1) / stride) + 1: the low-level ones by name, and ``"output"``."""
        raise NotImplementedError


class UnitBackbone(Backbone):
    """A backbone that is a stem, then units in order, whose strides can become rates.

    Args:
        stem: maps the normalized image ``(N, 3, H, W)`` to the first unit's input.
        stem_stride: the stem's stride.
        units: the units in order.
        out_channels: channels of the last unit's output.
        taps: for each low-level feature, the index of the unit whose tap it is, and the feature.
        mean, std: the input normalization.
    """

    def __init__(
        self,
        *,
        stem: nn.Module,
        stem_stride: int,
        units: Sequence[Unit],
        out_channels: int,
        taps: Mapping[str, tuple[int, Feature]],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.stem = stem
        self.units = nn.ModuleList(units)
        self.low_level = {name: feature for name, (_, feature) in taps.items()}
        self.out_channels = out_channels
        self.mean, self.std = mean, std
        self._stem_stride = stem_stride
        self._tapped = {index: name for name, (index, _) in taps.items()}
        self.set_output_stride(16)

    def set_output_stride(self, output_stride: int) -> None:
        """See ``Backbone``.

        Walk the units with the stride reached so far. While it is below ``output_stride`` a unit
        keeps its stride; after that a unit with a stride loses it, runs at the rate so far, and
        the units behind it run at that rate times the lost stride.
        """
        check_output_stride(output_stride)
        current, rate = self._stem_stride, 1
        for unit in cast(Sequence[Unit], self.units):
            if current < output_stride:
                unit.set_atrous(stride=unit.stride, rate=rate)
                current *= unit.stride
            else:
                unit.set_atrous(stride=1, rate=rate)
                rate *= unit.stride
        self.output_stride = output_stride

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See ``Backbone``."""
        features = {}
        x = self.stem(x)
        for index, unit in enumerate(self.units):
            x, tap = unit(x)
            if index in self._tapped:
                features[self._tapped[index]] = tap
        return features | {"output": x}


def check_output_stride(output_stride: int) -> None:
    """Raise ValueError unless it is one of the paper's output strides."""
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(f"output stride {output_stride}: it is one of {OUTPUT_STRIDES}")
