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

FEW_IMAGES = 2
"""Training images up to which a class is scarce."""

MIN_IMAGES = 10
"""Images of training and validation below which every class is in few of them."""

SCARCE_ADVICE = (
    "More images, another data.split_seed (for a drawn val), or data.classes without it."
)


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


def scarce_classes(
    names: Sequence[str],
    training: Sequence[int],
    validation: Sequence[int],
    *,
    num_training: int,
    num_validation: int,
) -> dict[str, str]:
    """Return the classes that too few images hold to learn or to score them, and how many do.

    Args:
        names: names of the classes.
        training: number of training images that have each class.
        validation: the same for validation.
        num_training: number of all training images.
        num_validation: the same for validation.
    """
    if num_training + num_validation < MIN_IMAGES:
        return {}
    return {
        name: f"in {trained} of {num_training} training images, {scored} of {num_validation} "
        "validation images"
        for name, trained, scored in zip(names, training, validation, strict=True)
        if (trained or scored) and (trained <= FEW_IMAGES or not scored)
    }
