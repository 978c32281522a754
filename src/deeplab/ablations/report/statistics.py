"""Whether two rows differ by more than chance: a bootstrap over images, and over seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""Pixels by image, truth and prediction: ``(N, K, K)``."""

DRAWS = 1000

LEVEL = 0.95


class Difference(NamedTuple):
    """Of mIoU between a row and its reference, as parts of 1."""

    mean: float
    low: float
    """The interval that holds 95 % of the draws."""
    high: float

    @property
    def noise(self) -> bool:
        """Whether no difference would be as likely."""
        return self.low <= 0 <= self.high


def mean_iou(confusion: NDArray[np.floating] | Counts) -> NDArray[np.float64]:
    """The mIoU of matrices ``(..., K, K)``; classes in neither truth nor prediction are left
    out."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(-1) + confusion.sum(-2) - right
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nanmean(np.where(union > 0, right / union, np.nan), axis=-1))


def difference(
    ours: Sequence[Counts], theirs: Sequence[Counts], *, draws: int = DRAWS
) -> Difference:
    """Of the mIoU, averaged over seeds, between two rows on the same images in the same order.

    Each draw takes as many images as there are, with replacement and the same ones for both rows,
    and as many seeds of each row as it has, with replacement. With one seed each the interval holds
    the chance of the images only, not that of training.

    Args:
        ours: for each seed the counts ``(N, K, K)``.
        theirs: those of the reference.
        draws: how many.
    """
    generator = np.random.default_rng(0)  # the same report every time
    images = len(ours[0])
    weights = generator.multinomial(images, np.full(images, 1 / images), size=draws)  # (D, N)
    drawn = [_drawn(arm, weights, generator) for arm in (ours, theirs)]
    low, high = np.quantile(drawn[0] - drawn[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    mean = [np.mean([mean_iou(seed.sum(0)) for seed in arm]) for arm in (ours, theirs)]
    return Difference(float(mean[0] - mean[1]), float(low), float(high))


def _drawn(
    seeds: Sequence[Counts], weights: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """The mIoU of each draw, averaged over the seeds that it takes: ``(D,)``."""
    draws, classes = len(weights), seeds[0].shape[-1]
    scores = np.stack(
        [
            mean_iou((weights @ counts.reshape(len(counts), -1)).reshape(draws, classes, classes))
            for counts in (seed.astype(np.float64) for seed in seeds)
        ]
    )  # (S, D)
    taken = generator.integers(0, len(seeds), size=(len(seeds), draws))
    return np.asarray(np.take_along_axis(scores, taken, axis=0).mean(0))
