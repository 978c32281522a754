"""An ASPP and a decoder that are not of this project, as parts of the network."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deeplab.models.backbones.base import Feature
from deeplab.models.backbones.wrapped import check_stated
from deeplab.models.sizes import map_size

OUT_CHANNELS = {"out_channels": "the number of channels of its result"}

OF_ASPP = OUT_CHANNELS | {"set_output_stride": "a method that takes 8, 16 or 32"}
OF_DECODER = OUT_CHANNELS | {
    "stride": "that of its result in pixels of the image; None: that of the encoder's map"
}
"""Attributes that a module must have, and what they are."""

TRIALS = ((True, (65, 65)), (False, (49, 97)))
"""Whether a part is tried in training, and on maps of an image of which height and width."""


class OwnASPP(nn.Module):
    """A module that states its channels, as an ASPP.

    Args:
        network: maps ``(N, in_channels, h, w)`` to ``(N, out_channels, h, w)``.
            ``set_output_stride`` sets the output stride at which it gets maps, and keeps the state
            dict.

    Raises:
        ValueError: the module lacks an attribute.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        check_stated(network, OF_ASPP)
        self.network: Any = network
        self.out_channels: int = network.out_channels  # type: ignore[assignment]

    def set_output_stride(self, output_stride: int) -> None:
        """See ``ASPP``."""
        self.network.set_output_stride(output_stride)

    def forward(self, x: Tensor) -> Tensor:
        """See ``ASPP``."""
        output: Tensor = self.network(x)
        return output


class OwnDecoder(nn.Module):
    """A module that states its channels and its stride, as a decoder.

    Args:
        network: maps the encoder's map and the backbone's features by name to
            ``(N, out_channels, H/stride, W/stride)``.

    Raises:
        ValueError: the module lacks an attribute.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        check_stated(network, OF_DECODER)
        self.network: Any = network
        self.out_channels: int = network.out_channels  # type: ignore[assignment]
        stride: Any = network.stride
        if stride is not None and (type(stride) is not int or stride < 1):
            raise ValueError(f"stride is {stride!r}; expected a positive integer or None")
        self.stride: int | None = stride

    def forward(self, x: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """See ``Decoder``."""
        output: Tensor = self.network(x, features)
        return output


def trial_maps(
    features: Mapping[str, Feature], output_stride: int, size: tuple[int, int]
) -> dict[str, Tensor]:
    """Return random feature maps of two images of a size at an output stride, by name."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(
            2, f.channels, *map_sides(size, f.stride, output_stride), generator=generator
        )
        for name, f in features.items()
    }


def map_sides(size: tuple[int, int], stride: int, output_stride: int) -> tuple[int, int]:
    """Return height and width of a feature map, whose stride is at most the output stride."""
    height, width = (map_size(side, min(stride, output_stride)) for side in size)
    return height, width


def check_result(result: Any, source: Tensor, *, channels: int, sides: tuple[int, int]) -> None:
    """Check what a part has made of the encoder's map.

    Args:
        result: what it returned.
        source: the map, which requires a gradient.
        channels: channels that it states.
        sides: height and width that follow from its stride.

    Raises:
        ValueError: it is no map of this shape, or does not depend on the source.
    """
    expected = (source.shape[0], channels, *sides)
    if not isinstance(result, Tensor):
        raise ValueError(f"forward returns {type(result).__name__}; expected a tensor")
    if tuple(result.shape) != expected:
        raise ValueError(f"its result is {tuple(result.shape)}; expected {expected}")
    if not result.requires_grad or (
        torch.autograd.grad(result.sum(), source, allow_unused=True)[0] is None
    ):
        raise ValueError(
            "its result has no gradient for the map that it gets, so that nothing before it would "
            "learn. Compute it from that map with PyTorch"
        )
