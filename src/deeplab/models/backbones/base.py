"""Interface of all backbones, and the base class of those that this project defines.

The latter have a stem and a sequence of units, and declare the features that they return.
``UnitBackbone`` implements the rule that turns an output stride into strides and atrous rates.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from deeplab.models.layers import batch_norms
from deeplab.models.normalization import for_channels
from deeplab.utils.settings import OUTPUT_STRIDES


class Feature(NamedTuple):
    """Channels of a feature map and its stride relative to the input image."""

    channels: int
    stride: int


class UnitOutput(NamedTuple):
    """A unit's output and the feature map inside it that the decoder may use."""

    output: Tensor
    low_level: Tensor


class Unit(nn.Module):
    """The smallest part of a backbone whose stride can be replaced by dilation.

    ``forward`` returns a ``UnitOutput``.
    """

    stride: int
    """Stride when no convolution is atrous."""

    def set_atrous(self, *, stride: int, dilation: int) -> None:
        """Set the unit's stride and dilation."""
        raise NotImplementedError


class Backbone(nn.Module):
    """Interface of a feature extractor.

    A subclass sets the attributes and implements ``set_output_stride`` and ``forward``.
    """

    low_level: dict[str, Feature]
    """Low-level features that the decoder may use, by name: ``conv2`` at stride 4, ``conv3`` at 8
    and ``conv4`` at 16, which are the strides when no convolution is atrous."""
    out_channels: int
    """Channels of the last feature map."""
    in_channels: int = 3
    """Channels of the images; 3 for RGB."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Input normalization that the family's public weights expect: per channel (of RGB in this
    order), on the scale 0 to 255."""
    output_stride: int
    """Current output stride."""

    gradient_checkpointing: bool = False
    """True if a training computes the units again in its backward pass, to save memory."""

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Keep only the inputs of the units for the backward pass, which computes the rest again.

        Raises:
            ValueError: this network cannot.
        """
        if enabled:
            raise ValueError("this backbone is no sequence of units of this project")

    def set_input(self, in_channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set the channels of the images and their normalization.

        Raises:
            ValueError: their numbers do not fit; three values of RGB fit any number of channels.
        """
        self.in_channels = in_channels
        self.mean = for_channels(mean, in_channels, "mean")
        self.std = for_channels(std, in_channels, "std")

    def set_output_stride(self, output_stride: int) -> None:
        """Set the ratio of the image's size to the last feature map's; keeps the state dict.

        Raises:
            ValueError: this network cannot run at this output stride.
        """
        raise NotImplementedError

    @property
    def features(self) -> dict[str, Feature]:
        """Channels and stride of all maps from ``forward``, at the current output stride."""
        features = {
            name: Feature(f.channels, min(f.stride, self.output_stride))
            for name, f in self.low_level.items()
        }
        return features | {"output": Feature(self.out_channels, self.output_stride)}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the low-level features by name, and the last feature map as ``"output"``.

        Args:
            x: normalized images ``(N, in_channels, H, W)``.

        Returns:
            Feature maps ``(N, channels, H/stride, W/stride)``; a side n of the image becomes
            floor((n - 1) / stride) + 1.
        """
        raise NotImplementedError


class UnitBackbone(Backbone):
    """A backbone of a stem and a sequence of units whose strides dilation can replace.

    Args:
        stem: maps the normalized image ``(N, in_channels, H, W)`` to the first unit's input.
        stem_stride: the stem's stride.
        units: the units in order.
        out_channels: channels of the last unit's output.
        low_level_units: for each low-level feature, the index of the unit that returns it, and its
            channels and stride.
        mean, std: the input normalization.
        in_channels: channels of the images.
    """

    def __init__(
        self,
        *,
        stem: nn.Module,
        stem_stride: int,
        units: Sequence[Unit],
        out_channels: int,
        low_level_units: Mapping[str, tuple[int, Feature]],
        mean: Sequence[float],
        std: Sequence[float],
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.set_input(in_channels, mean, std)
        self.stem = stem
        self.units = nn.ModuleList(units)
        self.low_level = {name: feature for name, (_, feature) in low_level_units.items()}
        self.out_channels = out_channels
        self._stem_stride = stem_stride
        self._low_level_names = {index: name for name, (index, _) in low_level_units.items()}
        self.set_output_stride(16)

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """See ``Backbone``."""
        self.gradient_checkpointing = enabled

    def set_output_stride(self, output_stride: int) -> None:
        """See ``Backbone``.

        The rule goes through the units in order and multiplies their strides. While the product is
        below ``output_stride``, a unit keeps its stride. After that, a strided unit runs with
        stride 1 at the current dilation, and its stride multiplies the dilation of all units after
        it.
        """
        check_output_stride(output_stride)
        current_stride, dilation = self._stem_stride, 1
        for unit in cast(Sequence[Unit], self.units):
            if current_stride < output_stride:
                unit.set_atrous(stride=unit.stride, dilation=dilation)
                current_stride *= unit.stride
            else:
                unit.set_atrous(stride=1, dilation=dilation)
                dilation *= unit.stride
        self.output_stride = output_stride

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See ``Backbone``."""
        features = {}
        x = self.stem(x)
        recompute = self.gradient_checkpointing and torch.is_grad_enabled()
        for index, unit in enumerate(self.units):
            x, low_level = _run_checkpointed(unit, x) if recompute else unit(x)
            if index in self._low_level_names:
                features[self._low_level_names[index]] = low_level
        return features | {"output": x}


def _run_checkpointed(unit: nn.Module, x: Tensor) -> UnitOutput:
    """Return a unit's output, of which the backward pass keeps the input only."""
    options: dict[str, Any] = {}
    if not torch.compiler.is_compiling():  # the compiler runs the code of a unit once anyway
        options["context_fn"] = lambda: (nullcontext(), _keep_statistics(unit))
    output: UnitOutput = checkpoint(unit, x, use_reentrant=False, **options)
    return output


@contextmanager
def _keep_statistics(unit: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch norms as they are: they have seen the batch."""
    norms = [norm for norm in batch_norms(unit) if norm.training]
    before = [(norm.momentum, cast(Tensor, norm.num_batches_tracked).clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            cast(Tensor, norm.num_batches_tracked).copy_(count)


def check_output_stride(output_stride: int) -> None:
    """Raise ValueError unless the output stride is one of the paper's."""
    if output_stride not in OUTPUT_STRIDES:
        choices = ", ".join(map(str, OUTPUT_STRIDES))
        raise ValueError(f"output stride {output_stride} is not allowed. Choose from {choices}")
