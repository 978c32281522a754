"""What networks are trained with and weights therefore go with: the range of their input."""

from typing import NamedTuple

Color = tuple[float, float, float]


class Normalization(NamedTuple):
    """Of RGB values from 0 to 255: ``(value - mean) / std``."""

    mean: Color
    std: Color


INCEPTION = Normalization((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
"""To [-1, 1], as the authors' checkpoints expect."""

IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""ImageNet's mean and deviation, as torchvision's weights expect."""
