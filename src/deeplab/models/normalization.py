"""Input normalizations; trained weights expect the one that they were trained with."""

from collections.abc import Sequence
from typing import NamedTuple

Channels = tuple[float, ...]


class Normalization(NamedTuple):
    """Normalization of values from 0 to 255: ``(value - mean) / std``; these are those of RGB."""

    mean: Channels
    std: Channels


INCEPTION = Normalization((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
"""Normalization to [-1, 1], which the authors' checkpoints expect."""

IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""ImageNet's mean and standard deviation, which torchvision's weights expect."""


def for_channels(rgb: Sequence[float], in_channels: int, name: str) -> Channels:
    """Return a value for each channel: those of RGB itself, their mean, or RGB repeated.

    Args:
        rgb: three values, or one for each channel, which stay as they are.
        in_channels: channels of the images; a single one gets the mean of the three.
        name: name of the values, for the message.

    Raises:
        ValueError: there is another number of values.
    """
    if len(rgb) == in_channels:
        return tuple(rgb)
    if len(rgb) != 3:
        raise ValueError(
            f"{name}={list(rgb)}: expected {in_channels} values, one for each of in_channels="
            f"{in_channels}"
        )
    return (sum(rgb) / 3,) if in_channels == 1 else tuple(rgb[i % 3] for i in range(in_channels))
