"""Whether a score of two rows differs by more than chance: a bootstrap over images, and over
trainings where a row has several.

mIoU needs two numbers of each image and class, its correct pixels and the union of truth and
prediction. Both add up over images, so that drawing images is a product of matrices.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.ablations.report.results import scores_of
from deeplab.ablations.tables import Score
from deeplab.evaluation.evaluation_folder import Evaluation
from deeplab.utils.errors import UserError

DRAWS = 1000

LEVEL = 0.95

FIRST: dict[Score, int] = {"top1_error": 1, "top5_error": 5}
"""Among how many classes the label is to be."""

Numbers = NDArray[np.float64]

Ratio = Callable[[Numbers, Numbers], Numbers]
"""From two sums over images to a score."""


class Difference(NamedTuple):
    """Of two rows' score, in parts of 1."""

    measured: float
    low: float
    """Of the interval that holds ``LEVEL`` of the draws."""
    high: float

    @property
    def noise(self) -> bool:
        """Whether the interval holds 0."""
        return self.low <= 0 <= self.high


class Arm(NamedTuple):
    """The trainings of a row: ``S`` of them, under ``B`` draws of images."""

    scores: Numbers
    """The score on all images: ``(S,)``."""
    drawn: Numbers
    """The score on the images of each draw: ``(S, B)``."""


class Images(NamedTuple):
    """What mIoU is made of, by image (in the order of their ids) and class: ``(N, K)``."""

    ids: tuple[str, ...]
    right: Numbers
    union: Numbers


def images_of(evaluation: Evaluation) -> Images:
    """Read the confusion matrices of an evaluation.

    Raises:
        UserError: they are not there, or damaged.
    """
    ids, counts = evaluation.ids, evaluation.confusion
    if counts.ndim != 3 or len(ids) != len(counts):
        raise _damaged(evaluation, f"{len(ids)} images and counts of shape {counts.shape}")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    right = np.diagonal(counts, axis1=1, axis2=2).astype(np.float64)
    union = (counts.sum(1) + counts.sum(2)).astype(np.float64) - right
    return Images(tuple(ids[i] for i in order), right[order], union[order])


def _damaged(evaluation: Evaluation, what: str) -> UserError:
    return UserError(
        f"{evaluation.folder.images}: {what} do not belong together; evaluate.py writes it anew."
    )


def mean_iou(right: Numbers, union: Numbers) -> Numbers:
    """The mIoU of sums over images ``(..., K)``; classes in neither truth nor prediction are left
    out, and nan where there is no other."""
    there = union > 0
    iou = np.divide(right, union, out=np.zeros_like(union), where=there)
    number = there.sum(-1)
    return np.where(number > 0, iou.sum(-1) / np.maximum(number, 1), np.nan)


def pictures_of(evaluation: Evaluation, score: Score) -> Images:
    """A classifier's pictures: ``right`` is whether one of their labels is among the first classes
    that the error is of, ``union`` whether they have a label, ``(N,)``.

    Raises:
        UserError: they are not there, or damaged.
    """
    ids, ranks = evaluation.ids, evaluation.ranks
    if len(ids) != len(ranks):
        raise _damaged(evaluation, f"{len(ids)} images and {len(ranks)} ranks")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    labeled = ranks[order] >= 0
    right = labeled & (ranks[order] < FIRST[score])
    return Images(
        tuple(ids[i] for i in order), right.astype(np.float64), labeled.astype(np.float64)
    )


def error(right: Numbers, labeled: Numbers) -> Numbers:
    """The part that is wrong; nan where nothing is labeled."""
    return np.where(labeled > 0, 1 - right / np.maximum(labeled, 1), np.nan)


@lru_cache(maxsize=4)
def image_draws(images: int, draws: int) -> Numbers:
    """How often each draw takes each image, as many as there are, with replacement: ``(B, N)``; the
    same every time, so that a report is."""
    generator = np.random.default_rng(0)
    return generator.multinomial(images, np.full(images, 1 / images), size=draws).astype(float)


@lru_cache(maxsize=16)
def seed_draws(seeds: int, draws: int, arm: int) -> NDArray[np.int64]:
    """Which of an arm's seeds each draw takes, as many as there are: ``(S, B)``."""
    return np.random.default_rng((1, arm)).integers(0, seeds, size=(seeds, draws))


class Sampler:
    """Draws the images of evaluations, of each evaluation once."""

    def __init__(self, draws: int = DRAWS) -> None:
        self.draws = draws
        self._known: dict[tuple[Path, Score], tuple[tuple[str, ...], float, Numbers]] = {}

    def ids(self, evaluation: Evaluation) -> tuple[str, ...]:
        """Its images, in the order of their ids."""
        return self._of(evaluation, scores_of(evaluation.result)[0])[0]

    def arm(self, evaluations: Sequence[Evaluation], score: Score) -> Arm:
        """The evaluations of a row's trainings."""
        found = [self._of(evaluation, score) for evaluation in evaluations]
        return Arm(np.array([score for _, score, _ in found]), np.stack([d for *_, d in found]))

    def _of(self, evaluation: Evaluation, score: Score) -> tuple[tuple[str, ...], float, Numbers]:
        key = (evaluation.folder.path, score)
        if key not in self._known:
            counted = images_of(evaluation) if score == "mIoU" else pictures_of(evaluation, score)
            ratio: Ratio = mean_iou if score == "mIoU" else error
            weights = image_draws(len(counted.ids), self.draws)
            drawn = ratio(weights @ counted.right, weights @ counted.union)
            whole = float(ratio(counted.right.sum(0), counted.union.sum(0)))
            self._known[key] = counted.ids, whole, drawn
        return self._known[key]


def difference(ours: Arm, theirs: Arm, *, paired: bool) -> Difference:
    """Of the score, averaged over trainings, between two rows on the same images.

    Every draw takes the same images for both rows, and as many trainings of each as it has, with
    replacement.

    Args:
        ours: the row.
        theirs: its reference.
        paired: whether the trainings of both are the same, in the same order, and so are drawn.
    """
    drawn = [
        np.take_along_axis(arm.drawn, seed_draws(*arm.drawn.shape, 0 if paired else i), 0).mean(0)
        for i, arm in enumerate((ours, theirs))
    ]
    low, high = np.nanquantile(drawn[0] - drawn[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(float(ours.scores.mean() - theirs.scores.mean()), float(low), float(high))
