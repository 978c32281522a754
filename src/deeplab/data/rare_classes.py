"""Training images drawn by their classes, so that rare classes are seen often.

The rule is that of DAFormer (Hoyer et al. 2022, section 4.2): class c, with the share f_c of all
labeled pixels, is drawn with a probability that is proportional to exp((1 - f_c) / temperature),
then one of the images that contain it. Departure: DAFormer tries crops until one has enough pixels
of the class; here the crop is placed around a random one of its pixels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


class ClassSampler:
    """Draws a class and an image that contains it.

    Args:
        pixels: number of pixels of each class in each image, ``(N, K)``.
        temperature: small values prefer rare classes more; see the module docstring.

    Attributes:
        probabilities: probability of each class ``(K,)``, 0 if no image contains it.

    Raises:
        ValueError: no image has a labeled pixel.
    """

    def __init__(self, pixels: Counts, temperature: float) -> None:
        total = pixels.sum(axis=0)
        if not total.any():
            raise ValueError("no image has a labeled pixel")
        exponent = np.where(total > 0, (1 - total / total.sum()) / temperature, -np.inf)
        weights = np.exp(exponent - exponent.max())
        self.probabilities: NDArray[np.float64] = weights / weights.sum()
        self._images = [np.flatnonzero(column) for column in pixels.T]

    def draw(self, generator: np.random.Generator) -> tuple[int, int]:
        """Return the index of an image, and the class that it is drawn for."""
        index = int(generator.choice(len(self.probabilities), p=self.probabilities))
        return int(generator.choice(self._images[index])), index

    def describe(self, names: Sequence[str]) -> str:
        """Return the most frequent classes with their probabilities."""
        order = np.argsort(-self.probabilities, kind="stable")[:5]
        parts = [f"{names[k]} {self.probabilities[k]:.0%}" for k in order]
        return ", ".join(part for part in parts if not part.endswith(" 0%"))


def balanced_weights(pixels: Counts) -> list[float]:
    """Return a weight for each class that balances a loss: 1 / sqrt of its share of the pixels.

    The mean over all pixels is 1, so that the size of the loss stays. A class without a pixel gets
    the largest weight of the others; without any pixel all weights are 1.

    Args:
        pixels: number of pixels of each class ``(K,)``.
    """
    if not pixels.any():
        return [1.0] * len(pixels)
    share = pixels / pixels.sum()
    weights = 1 / np.sqrt(np.where(share > 0, share, share[share > 0].min()))
    return [float(f"{weight:.4g}") for weight in weights / (share * weights).sum()]
