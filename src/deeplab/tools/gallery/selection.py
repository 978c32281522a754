"""Selection of the images that a gallery shows, from confusion matrices alone.

Indices number the images in the evaluation's order. Ties go to the lower index unless stated
otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.metrics.image_confusions import ImageConfusions
from deeplab.metrics.iou import intersection_over_union

Scores = NDArray[np.float64]


class ConfusedPair(NamedTuple):
    """A true class and the class that was wrongly predicted for it."""

    truth: int
    prediction: int
    pixels: int
    fraction: float
    """Fraction of the pixels of ``truth``."""
    images: list[int]
    """Images with the most of these pixels."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of the first evaluation with the second, image by image."""

    difference: Scores
    """Image IoU of the first minus that of the second; nan for images without labeled pixels."""
    gains: list[int]
    """Images on which the first is better, largest difference first."""
    losses: list[int]
    """Images on which the first is worse, largest difference first."""

    @property
    def num_better(self) -> int:
        """Number of images on which the first has the higher IoU."""
        return int((self.difference > 0).sum())

    @property
    def num_worse(self) -> int:
        """Number of images on which the first has the lower IoU."""
        return int((self.difference < 0).sum())

    @property
    def num_equal(self) -> int:
        """Number of images on which both have the same IoU."""
        return int((self.difference == 0).sum())


@dataclass(frozen=True)
class Selection:
    """Images of each section."""

    examples: list[int]
    worst: list[int]
    by_class: list[list[int]]
    confused_pairs: list[ConfusedPair]
    comparison: Comparison | None

    @property
    def all_images(self) -> list[int]:
        """Images of all sections, each once, in ascending order."""
        changed = (self.comparison.gains, self.comparison.losses) if self.comparison else ()
        confused = (pair.images for pair in self.confused_pairs)
        lists = (self.examples, self.worst, *self.by_class, *confused)
        return sorted(set(chain(*lists, *changed)))


def select(
    confusions: Sequence[ImageConfusions],
    *,
    num_images: int,
    num_per_class: int,
    num_confused_pairs: int,
) -> Selection:
    """Select the images of a page.

    Args:
        confusions: confusion matrices of the images of one evaluation or of two.
        num_images: number of images in a section of whole images.
        num_per_class: number of images for a class, and for a pair of classes.
        num_confused_pairs: number of pairs of classes.
    """
    first = confusions[0]
    ious = [confusion.image_iou for confusion in confusions]
    return Selection(
        examples=evenly_spaced(len(first), num_images),
        worst=lowest(ious[0], num_images),
        by_class=[worst_of_class(first, k, num_per_class) for k in range(first.num_classes)],
        confused_pairs=confused_pairs(first, num_confused_pairs, num_per_class),
        comparison=compare(ious[0], ious[1], num_images) if len(ious) == 2 else None,
    )


def evenly_spaced(num_images: int, count: int) -> list[int]:
    """Return at most ``count`` evenly spaced indices of ``num_images`` images."""
    indices = np.linspace(0, num_images - 1, min(num_images, count)).round()
    return [int(i) for i in indices]


def lowest(scores: Scores, count: int, weight: NDArray[Any] | None = None) -> list[int]:
    """Return the images with the lowest scores, lowest first, without those that have none (nan).

    Ties go to the image with more ``weight``.
    """
    valid = np.flatnonzero(~np.isnan(scores))
    weights = np.zeros(len(scores)) if weight is None else weight
    order = np.lexsort((-weights[valid], scores[valid]))  # stable
    return [int(i) for i in valid[order][:count]]


def worst_of_class(confusions: ImageConfusions, k: int, count: int) -> list[int]:
    """Return the images with class ``k`` in their truth on which its IoU is lowest.

    Ties, such as images where the class is missed altogether, go to the image with more of it.
    """
    truth = confusions.truth[:, k]
    iou = intersection_over_union(confusions.correct[:, k], confusions.union[:, k])
    return lowest(np.where(truth > 0, iou, np.nan), count, truth)


def confused_pairs(confusions: ImageConfusions, count: int, num_images: int) -> list[ConfusedPair]:
    """Return the pairs of classes with the most wrong pixels, most first.

    Args:
        confusions: confusion matrices of the images.
        count: number of pairs at most.
        num_images: number of images for each pair at most.
    """
    total = confusions.total
    wrong = total.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = []
    for truth, prediction in zip(*np.unravel_index(order, wrong.shape), strict=True):
        pixels = int(wrong[truth, prediction])
        if pixels:
            per_image = confusions.pixels(int(truth), int(prediction))
            images = lowest(np.where(per_image > 0, -per_image, np.nan), num_images)
            fraction = pixels / int(total[truth].sum())
            pairs.append(ConfusedPair(int(truth), int(prediction), pixels, fraction, images))
    return pairs


def compare(first: Scores, second: Scores, count: int) -> Comparison:
    """Compare the image IoU of two evaluations.

    Args:
        first: image IoU of the first evaluation, ``(N,)``.
        second: image IoU of the second evaluation, ``(N,)``.
        count: number of gains, and of losses, at most.
    """
    difference = first - second
    gains = lowest(np.where(difference > 0, -difference, np.nan), count)
    losses = lowest(np.where(difference < 0, difference, np.nan), count)
    return Comparison(difference, gains, losses)
