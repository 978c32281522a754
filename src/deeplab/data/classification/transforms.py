"""Crops of whole pictures for classification.

The paper says nothing of them. Training takes a random part of the picture and resizes it to the
crop, as the Inception networks were trained (Szegedy et al. 2015, section 6); validation takes the
central square of 87.5 % of the shorter side, one crop.

Departures from the usual: the aspect ratio is drawn evenly in its logarithm, so that wide and tall
parts are as common; where both sides shrink, pixels are averaged over the area that they stand for,
where the Inception networks drew one of four ways to resize; colors stay as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from deeplab.data.class_set import Pixels
from deeplab.data.transforms import check_augmented, compose

TRIES = 10
"""Parts that are drawn until one fits; then it is the whole picture."""


class Part(NamedTuple):
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


class RandomCrop:
    """A random part of a picture, resized to a square and perhaps mirrored.

    Args:
        size: side of the square, in pixels.
        scale: lower and upper bound of the crop's share of the image's area, drawn evenly.
        ratio: lower and upper bound of its width over its height, drawn evenly in the logarithm.
        hflip_prob: probability of a left-right flip.
        augmentations: further transforms of albumentations, which the crop goes through.
    """

    def __init__(
        self,
        *,
        size: int,
        scale: tuple[float, float],
        ratio: tuple[float, float],
        hflip_prob: float,
        augmentations: Sequence[Mapping[str, Mapping[str, Any]]] = (),
    ) -> None:
        self.size, self.scale, self.ratio, self.hflip_prob = size, scale, ratio, hflip_prob
        self.augmentations = compose(augmentations) if augmentations else None

    def __call__(self, image: Pixels, generator: np.random.Generator, out: Pixels) -> None:
        """Put the crop of ``(H, W, 3)`` into ``out``, ``(size, size, 3)``."""
        part = self.draw(image.shape[0], image.shape[1], generator)
        crop = resized(image, part, self.size)
        np.copyto(out, crop[:, ::-1] if generator.random() < self.hflip_prob else crop)
        if self.augmentations:
            self.augmentations.set_random_seed(int(generator.integers(2**31)))
            changed = self.augmentations(image=out)["image"]
            check_augmented(changed, out)
            np.copyto(out, changed)

    def draw(self, height: int, width: int, generator: np.random.Generator) -> Part:
        """A part of a picture of this height and width."""
        narrowest, widest = np.log(self.ratio)
        for _ in range(TRIES):
            area = height * width * generator.uniform(*self.scale)
            ratio = float(np.exp(generator.uniform(narrowest, widest)))  # width over height
            tall, wide = round((area / ratio) ** 0.5), round((area * ratio) ** 0.5)
            if 0 < tall <= height and 0 < wide <= width:
                top = int(generator.integers(height - tall + 1))
                return Part(top, int(generator.integers(width - wide + 1)), tall, wide)
        return Part(0, 0, height, width)


class CentralCrop:
    """The central square with a part of the shorter side, resized.

    Args:
        size: side of the result, in pixels.
        part: of the shorter side.
    """

    def __init__(self, *, size: int, part: float) -> None:
        self.size, self.part = size, part

    def __call__(self, image: Pixels, generator: np.random.Generator, out: Pixels) -> None:
        """Put the crop of ``(H, W, 3)`` into ``out``, ``(size, size, 3)``; nothing is random."""
        height, width = image.shape[:2]
        side = max(1, round(self.part * min(height, width)))
        part = Part((height - side) // 2, (width - side) // 2, side, side)
        np.copyto(out, resized(image, part, self.size))


def resized(image: Pixels, part: Part, size: int) -> Pixels:
    """A part of a picture at ``(size, size, 3)``: averaged over areas where both sides shrink, else
    bilinear."""
    top, left, height, width = part
    source = np.ascontiguousarray(image[top : top + height, left : left + width])
    how = cv2.INTER_AREA if min(height, width) >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(source, (size, size), interpolation=how), np.uint8)
