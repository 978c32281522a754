"""A feature extractor that is not of this project, as a backbone."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deeplab.models.backbones.base import Backbone, Feature, check_output_stride
from deeplab.models.sizes import map_size

REQUIRED = {
    "out_channels": "the number of channels of its last feature map",
    "low_level": "its other feature maps by name, as {name: (channels, stride)}",
    "set_output_stride": "a method that takes 8, 16 or 32",
}
"""Attributes that a network must have, and what they are."""

PROBE_SIZE = 65


class OwnBackbone(Backbone):
    """A network that states its features, as a backbone.

    Args:
        network: maps normalized images ``(N, C, H, W)`` to a mapping of feature maps by name, the
            last one as ``output``. ``out_channels`` and ``low_level`` state their channels and
            strides; ``set_output_stride`` sets the stride of the last one, and keeps the state
            dict.
        mean: per channel of the images.
        std: per channel of the images.

    Raises:
        ValueError: the network lacks one of these.
    """

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        check_stated(network, REQUIRED)
        self.network: Any = network
        self.low_level = _features(network.low_level)
        self.out_channels: int = network.out_channels  # type: ignore[assignment]
        self.set_input(len(mean), mean, std)

    def set_output_stride(self, output_stride: int) -> None:
        """See ``Backbone``."""
        check_output_stride(output_stride)
        self.network.set_output_stride(output_stride)
        self.output_stride = output_stride

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See ``Backbone``."""
        features: dict[str, Tensor] = self.network(x)
        return features


def check_stated(network: nn.Module, required: Mapping[str, str]) -> None:
    """Check the attributes of a module that is not of this project.

    Args:
        network: the module.
        required: what it must have, among them ``out_channels``, and what that is.

    Raises:
        ValueError: it lacks one, or its channels are no positive integer.
    """
    for name, meaning in required.items():
        if not hasattr(network, name):
            raise ValueError(f"{type(network).__name__} has no {name}: {meaning}")
    channels: Any = network.out_channels
    if type(channels) is not int or channels < 1:
        raise ValueError(f"out_channels is {channels!r}; expected a positive integer")


def _features(stated: Any) -> dict[str, Feature]:
    """Return the stated low-level features; raise ValueError if they are of another form."""
    try:
        pairs = {str(name): tuple(map(int, feature)) for name, feature in stated.items()}
        return {name: Feature(channels, stride) for name, (channels, stride) in pairs.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            f"low_level is {stated!r}; expected {{name: (channels, stride)}}"
        ) from None


def try_backbone(backbone: Backbone, output_stride: int) -> Any:
    """Return what a network makes of one small image at an output stride."""
    backbone.eval()
    backbone.set_output_stride(output_stride)
    with torch.no_grad():
        return backbone(torch.zeros(1, backbone.in_channels, PROBE_SIZE, PROBE_SIZE))


def check_features(backbone: Backbone, maps: Any) -> None:
    """Check that a network has returned the features that it states (``try_backbone``).

    Raises:
        ValueError: it has not.
    """
    if not isinstance(maps, Mapping) or "output" not in maps:
        raise ValueError("forward must return a mapping of feature maps, with 'output' among them")
    for name, feature in backbone.features.items():
        side = map_size(PROBE_SIZE, feature.stride)
        expected = (1, feature.channels, side, side)
        got = tuple(maps[name].shape) if name in maps else None
        if got != expected:
            raise ValueError(
                f"the feature map {name} of an image of {PROBE_SIZE} x {PROBE_SIZE} pixels at "
                f"output stride {backbone.output_stride} is {got or 'missing'}; expected "
                f"{expected}, by its channels and its stride"
            )
