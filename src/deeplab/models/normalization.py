"""What networks are trained with and weights therefore go with: the range of their input."""

from typing import NamedTuple

Colour = tuple[float, float, float]


class Normalisation(NamedTuple):
    """Of RGB values from 0 to 255: ``(value - mean) / std``."""

    mean: Colour
    std: Colour


INCEPTION = Normalisation((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
"""To [-1, 1], as the authors' checkpoints expect."""

IMAGENET = Normalisation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""ImageNet's mean and deviation, as torchvision's weights expect."""
