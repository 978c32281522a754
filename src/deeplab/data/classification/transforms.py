"""Crops of images for classification.

The paper does not describe them. Training resizes a random part of the image to the crop, as for
the Inception networks (Szegedy et al. 2015, section 6); validation uses one crop, the central
square of 87.5 % of the shorter side.

Departures from the usual: the logarithm of the aspect ratio is uniform, so that wide and tall parts
are equally common; if both sides shrink, pixels are averaged over areas, while the Inception
networks drew one of four resize methods at random; colors are not changed.
"""

from typing import NamedTuple

import cv2
import numpy as np

from deeplab.data.class_set import Pixels
from deeplab.data.further_augmentations import augment, build_augmentations
from deeplab.data.settings import CropSettings

MAX_TRIES = 10
"""Number of random boxes to try; if none fits, the whole image is used."""


class Box(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class RandomResizedCrop:
    """A random part of an image, resized to a square and flipped at random.

    The part's share of the image's area is drawn uniformly, its width over its height
    log-uniformly.

    Args:
        settings: side of the square, bounds of the part, flip and further augmentations.
    """

    def __init__(self, settings: CropSettings) -> None:
        self.settings, self.size = settings, settings.crop_size
        self.augmentations = build_augmentations(settings.augmentations)

    def __call__(self, image: Pixels, generator: np.random.Generator, out: Pixels) -> None:
        """Write the crop of an image ``(H, W, 3)`` to ``out``, ``(size, size, 3)``."""
        box = self.sample_box(image.shape[0], image.shape[1], generator)
        crop = crop_and_resize(image, box, self.size)
        np.copyto(out, crop[:, ::-1] if generator.random() < self.settings.hflip_prob else crop)
        if self.augmentations:
            augment(self.augmentations, generator, image=out)

    def sample_box(self, height: int, width: int, generator: np.random.Generator) -> Box:
        """Draw a box in an image of this height and width."""
        min_log_ratio, max_log_ratio = np.log(self.settings.ratio)
        for _ in range(MAX_TRIES):
            area = height * width * generator.uniform(*self.settings.scale)
            ratio = float(
                np.exp(generator.uniform(min_log_ratio, max_log_ratio))
            )  # width over height
            box_height, box_width = round((area / ratio) ** 0.5), round((area * ratio) ** 0.5)
            if 0 < box_height <= height and 0 < box_width <= width:
                top = int(generator.integers(height - box_height + 1))
                left = int(generator.integers(width - box_width + 1))
                return Box(top, left, box_height, box_width)
        return Box(0, 0, height, width)


class CentralCrop:
    """The central square of an image, resized.

    Args:
        size: side of the result, in pixels.
        crop_pct: side of the square as a fraction of the image's shorter side.
    """

    def __init__(self, *, size: int, crop_pct: float) -> None:
        self.size, self.crop_pct = size, crop_pct

    def __call__(self, image: Pixels, generator: np.random.Generator, out: Pixels) -> None:
        """Write the crop of an image ``(H, W, 3)`` to ``out``; ``generator`` is not used."""
        height, width = image.shape[:2]
        side = max(1, round(self.crop_pct * min(height, width)))
        box = Box((height - side) // 2, (width - side) // 2, side, side)
        np.copyto(out, crop_and_resize(image, box, self.size))


def crop_and_resize(image: Pixels, box: Box, size: int) -> Pixels:
    """Return a box of an image, resized to ``(size, size, 3)``.

    Pixels are averaged over areas if both sides shrink; else the resize is bilinear.
    """
    top, left, height, width = box
    source = np.ascontiguousarray(image[top : top + height, left : left + width])
    interpolation = cv2.INTER_AREA if min(height, width) >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(source, (size, size), interpolation=interpolation), np.uint8)
