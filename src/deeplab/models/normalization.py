"""Input normalizations; trained weights expect the one that they were trained with."""

from typing import NamedTuple

Color = tuple[float, float, float]


class Normalization(NamedTuple):
    """Normalization of RGB values from 0 to 255: ``(value - mean) / std``."""

    mean: Color
    std: Color


INCEPTION = Normalization((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
"""Normalization to [-1, 1], which the authors' checkpoints expect."""

IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""ImageNet's mean and standard deviation, which torchvision's weights expect."""
