"""Bootstrap test of whether the scores of two rows differ by more than chance.

Images are resampled, and runs too if a row has several. mIoU needs two numbers for each image and
class: its correct pixels, and the union of truth and prediction. Both add up over images, so that
resampling images is a product of matrices.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.ablations.tables import Score
from deeplab.evaluation.evaluation_folder import Evaluation
from deeplab.metrics.definitions import TOP_K
from deeplab.metrics.iou import intersection_over_union, mean_over_classes

NUM_DRAWS = 1000

DRAWS_AT_ONCE = 100
"""Number of draws whose counts are in memory as 64-bit numbers."""

CONFIDENCE_LEVEL = 0.95

FloatArray = NDArray[np.float64]

ScoreFunction = Callable[[FloatArray, FloatArray], FloatArray]
"""Function from two sums over images to a score."""


class Difference(NamedTuple):
    """Difference between the scores of two rows, as a fraction."""

    measured: float
    low: float
    """Lower end of the interval that holds ``CONFIDENCE_LEVEL`` of the draws."""
    high: float

    @property
    def within_noise(self) -> bool:
        """True if the interval contains 0."""
        return self.low <= 0 <= self.high


class SampledScores(NamedTuple):
    """Scores of the ``S`` runs of a row on all images and on ``B`` draws of images."""

    scores: FloatArray
    """Scores on all images: ``(S,)``, or ``(S, K)`` for the IoU of each class."""
    drawn: FloatArray
    """Scores on the images of each draw: ``(S, B)``, or ``(S, B, K)``."""


class ClassDifferences(NamedTuple):
    """Differences between the class IoUs of two rows, as fractions: ``(K,)`` each.

    nan for a class that occurs neither in the truth nor in a prediction.
    """

    measured: FloatArray
    low: FloatArray
    """Lower ends of the intervals that hold ``CONFIDENCE_LEVEL`` of the draws."""
    high: FloatArray


class ImageSample(NamedTuple):
    """Score of one evaluation on all images and on draws of them."""

    score: FloatArray
    """Score on all images: ``()``, or ``(K,)`` for the IoU of each class."""
    drawn: FloatArray
    """Scores on the images of each draw: ``(B,)``, or ``(B, K)``."""


def image_counts(evaluation: Evaluation, score: Score) -> tuple[FloatArray, FloatArray]:
    """Read the counts that a score is computed from, with the images sorted by their ids.

    Returns:
        Correct pixels of each image and class, and the union of truth and prediction: ``(N, K)``.
        For errors 1 for each correct image and 1 for each labeled one, ``(N,)``: an image is
        correct if its label is among the classes that the top-k error accepts.

    Raises:
        UserError: the file is missing or damaged.
    """
    order = np.argsort(evaluation.ids, kind="stable")
    if score == "mIoU":
        confusions = evaluation.confusions
        counts = (confusions.correct, confusions.union)
        return counts[0][order].astype(np.float64), counts[1][order].astype(np.float64)
    ranks = evaluation.ranks[order]
    labeled = ranks >= 0
    return (labeled & (ranks < TOP_K[score])).astype(np.float64), labeled.astype(np.float64)


def mean_iou(correct: FloatArray, union: FloatArray) -> FloatArray:
    """Return the mIoU of sums over images ``(..., K)``.

    Classes in neither truth nor prediction are left out; the result is nan if no class is left.
    """
    return mean_over_classes(intersection_over_union(correct, union))


def error_rate(correct: FloatArray, labeled: FloatArray) -> FloatArray:
    """Return the fraction of wrong predictions; nan if no image is labeled."""
    return np.where(labeled > 0, 1 - correct / np.maximum(labeled, 1), np.nan)


@lru_cache(maxsize=4)
def image_draws(images: int, draws: int) -> NDArray[np.uint16]:
    """Return how often each draw contains each image: ``(B, N)``.

    A draw takes as many images as there are, with replacement. The draws are equal in every call,
    so that a report can be reproduced.
    """
    generator, shares = np.random.default_rng(0), np.full(images, 1 / images)
    counts = np.empty((draws, images), np.uint16)
    for block in _blocks(counts):
        block[:] = generator.multinomial(images, shares, size=len(block))
    return counts


def _blocks(draws: NDArray[np.uint16]) -> list[NDArray[np.uint16]]:
    """Return views of some draws each."""
    return np.split(draws, range(DRAWS_AT_ONCE, len(draws), DRAWS_AT_ONCE))


@lru_cache(maxsize=16)
def seed_draws(seeds: int, draws: int, group: int) -> NDArray[np.int64]:
    """Return the seeds that each draw contains, as many as there are: ``(S, B)``.

    Args:
        seeds: number of seeds of a row.
        draws: number of draws.
        group: 0 or 1; rows whose seeds are drawn independently have different numbers.
    """
    return np.random.default_rng((1, group)).integers(0, seeds, size=(seeds, draws))


class Sampler:
    """Resamples the images of evaluations, each evaluation once."""

    def __init__(self, draws: int = NUM_DRAWS) -> None:
        self.draws = draws
        self._cache: dict[tuple[Path, Score, ScoreFunction], ImageSample] = {}

    def sample(self, evaluations: Sequence[Evaluation], score: Score) -> SampledScores:
        """Return the scores of a row's evaluations, one for each run."""
        samples = [self._sample(evaluation, score) for evaluation in evaluations]
        scores = np.array([sample.score for sample in samples])
        return SampledScores(scores, np.stack([sample.drawn for sample in samples]))

    def sample_classes(self, evaluations: Sequence[Evaluation]) -> SampledScores:
        """Return the IoU of each class in a row's evaluations, one for each run."""
        samples = [self._cached(e, "mIoU", intersection_over_union) for e in evaluations]
        scores = np.stack([sample.score for sample in samples])
        return SampledScores(scores, np.stack([sample.drawn for sample in samples]))

    def _sample(self, evaluation: Evaluation, score: Score) -> ImageSample:
        return self._cached(evaluation, score, mean_iou if score == "mIoU" else error_rate)

    def _cached(self, evaluation: Evaluation, score: Score, function: ScoreFunction) -> ImageSample:
        key = (evaluation.folder.path, score, function)
        if key not in self._cache:
            correct, total = image_counts(evaluation, score)
            blocks = _blocks(image_draws(len(total), self.draws))
            drawn = [function(weights @ correct, weights @ total) for weights in blocks]
            value = function(correct.sum(0), total.sum(0))
            self._cache[key] = ImageSample(value, np.concatenate(drawn))
        return self._cache[key]


def bootstrap_difference(
    candidate: SampledScores, reference: SampledScores, *, paired: bool
) -> Difference:
    """Return the difference between two rows on the same images, averaged over their runs.

    Every draw takes the same images for both rows, and as many runs of each row as it has, with
    replacement.

    Args:
        candidate: scores of the row.
        reference: scores of its reference.
        paired: True if the runs of both are the same, in the same order; they are then drawn
            together.
    """
    measured, low, high = _bootstrap(candidate, reference, paired=paired)
    return Difference(float(measured), float(low), float(high))


def bootstrap_classes(
    candidate: SampledScores, reference: SampledScores, *, paired: bool
) -> ClassDifferences:
    """Return the differences of the class IoUs; see ``bootstrap_difference``."""
    return ClassDifferences(*_bootstrap(candidate, reference, paired=paired))


def _bootstrap(
    candidate: SampledScores, reference: SampledScores, *, paired: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the differences, and the lower and upper ends of their intervals."""
    drawn = []
    for i, sampled in enumerate((candidate, reference)):
        runs = seed_draws(*sampled.drawn.shape[:2], 0 if paired else i)
        runs = runs.reshape(*runs.shape, *(1 for _ in sampled.drawn.shape[2:]))
        drawn.append(np.take_along_axis(sampled.drawn, runs, 0).mean(0))
    tail = (1 - CONFIDENCE_LEVEL) / 2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice")  # a class that is in no image
        low, high = np.nanquantile(drawn[0] - drawn[1], [tail, 1 - tail], axis=0)
    return candidate.scores.mean(0) - reference.scores.mean(0), low, high
