"""Which images a gallery shows, from confusion matrices alone.

Indices are those of the images in the evaluation's order. Of images that are equally bad the one
that stands first comes first, unless said otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]


class Pair(NamedTuple):
    """A class that was taken for another one."""

    truth: int
    prediction: int
    pixels: int
    part: float
    """Of the pixels that are ``truth``."""
    images: list[int]
    """Those with most of these pixels."""


@dataclass(frozen=True)
class Comparison:
    """The first evaluation against the second, image by image."""

    difference: Scores
    """Image IoU of the first less that of the second; nan for images without labeled pixels."""
    gained: list[int]
    """Where the first is better, by how much."""
    lost: list[int]

    @property
    def better(self) -> int:
        """The number of images where the first has the higher IoU."""
        return int((self.difference > 0).sum())

    @property
    def worse(self) -> int:
        return int((self.difference < 0).sum())

    @property
    def equal(self) -> int:
        return int((self.difference == 0).sum())


@dataclass(frozen=True)
class Selection:
    """The images of each section."""

    examples: list[int]
    worst: list[int]
    by_class: list[list[int]]
    pairs: list[Pair]
    comparison: Comparison | None

    @property
    def shown(self) -> list[int]:
        """All of them, each once, in order."""
        changed = (self.comparison.gained, self.comparison.lost) if self.comparison else ()
        lists = (self.examples, self.worst, *self.by_class, *(p.images for p in self.pairs))
        return sorted(set(chain(*lists, *changed)))


def select(confusions: Sequence[Counts], *, images: int, per_class: int, pairs: int) -> Selection:
    """The images that a page shows.

    Args:
        confusions: of one evaluation or of two, ``(N, K, K)`` each: pixels of each image by truth
            (row) and prediction (column).
        images: how many in a section of whole images.
        per_class: how many for a class, and for a pair of classes.
        pairs: how many pairs of classes.
    """
    first = confusions[0]
    ious = [image_iou(confusion) for confusion in confusions]
    return Selection(
        examples=spread(len(first), images),
        worst=lowest(ious[0], images),
        by_class=[worst_of_class(first, k, per_class) for k in range(first.shape[1])],
        pairs=confused_pairs(first, pairs, per_class),
        comparison=compare(ious[0], ious[1], images) if len(ious) == 2 else None,
    )


def class_iou(confusion: Counts) -> Scores:
    """IoU of each class, ``(..., K, K)`` to ``(..., K)``; nan where a class does not occur."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _ratio(hit, confusion.sum(-1) + confusion.sum(-2) - hit)


def image_iou(confusion: Counts) -> Scores:
    """Mean over the classes that occur in an image's truth or prediction, ``(..., K, K)`` to
    ``(...)``; nan where none does, since all pixels are ignored."""
    iou = class_iou(confusion)
    return _ratio(np.nansum(iou, axis=-1), (~np.isnan(iou)).sum(-1))


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Scores:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def spread(number: int, count: int) -> list[int]:
    """At most ``count`` of ``number`` images, at even distances."""
    return [int(i) for i in np.linspace(0, number - 1, min(number, count)).round()]


def lowest(scores: Scores, count: int, weight: NDArray[Any] | None = None) -> list[int]:
    """The images with the lowest scores, lowest first; those without a score (nan) are left out.

    Of equal ones those with more ``weight`` come first.
    """
    known = np.flatnonzero(~np.isnan(scores))
    heavy = np.zeros(len(scores)) if weight is None else weight
    order = np.lexsort((-heavy[known], scores[known]))  # stable
    return [int(i) for i in known[order][:count]]


def worst_of_class(confusion: Counts, k: int, count: int) -> list[int]:
    """The images with class ``k`` in their truth where its IoU is lowest; of equal ones, such as
    those that miss it altogether, the one with more of it first."""
    truth, prediction, hit = confusion[:, k].sum(1), confusion[:, :, k].sum(1), confusion[:, k, k]
    iou = _ratio(hit, truth + prediction - hit)
    return lowest(np.where(truth > 0, iou, np.nan), count, truth)


def confused_pairs(confusion: Counts, count: int, images: int) -> list[Pair]:
    """The pairs of classes with most pixels of the one taken for the other, most first."""
    total = confusion.sum(0)
    wrong = total.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    found = []
    for truth, prediction in zip(*np.unravel_index(order, wrong.shape), strict=True):
        pixels = int(wrong[truth, prediction])
        if pixels:
            of_image = confusion[:, truth, prediction]
            contributing = lowest(np.where(of_image > 0, -of_image, np.nan), images)
            part = pixels / int(total[truth].sum())
            found.append(Pair(int(truth), int(prediction), pixels, part, contributing))
    return found


def compare(ours: Scores, theirs: Scores, count: int) -> Comparison:
    """Where the image IoU of two evaluations differs most, at most ``count`` images each way."""
    difference = ours - theirs
    gained = lowest(np.where(difference > 0, -difference, np.nan), count)
    lost = lowest(np.where(difference < 0, difference, np.nan), count)
    return Comparison(difference, gained, lost)
