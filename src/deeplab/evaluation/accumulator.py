"""Scores of label maps, image by image, and their accumulation over a split."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.metrics.boundary import (
    BoundaryScore,
    band_indices,
    class_outlines,
    score_boundary,
)
from deeplab.metrics.confusion_matrix import Scores, scores
from deeplab.metrics.definitions import Bands, to_percent
from deeplab.metrics.image_confusions import ImageConfusions, cell_counts
from deeplab.metrics.iou import intersection_over_union
from deeplab.tracking.result import Band, BoundaryResult, in_percent
from deeplab.utils.constants import IGNORE

Pixels = NDArray[np.uint8]
Counts = NDArray[np.int64]


class ImageScore(NamedTuple):
    """Scores of one image."""

    confusion: Counts
    """Number of pixels by truth (row) and prediction (column): ``(K, K)``."""
    bands: Counts | None
    """Confusion matrix of each band: ``(bands, K, K)``; None without borders."""
    boundary: dict[int, BoundaryScore]
    """Boundary scores by class, for the classes in truth or prediction."""


def score_image(
    truth: Pixels,
    predictions: Sequence[Pixels],
    *,
    classes: int,
    widths: Sequence[float],
    bands: Bands = "void",
) -> list[ImageScore]:
    """Score several predictions ``(H, W)`` of one image.

    Computations that depend on the truth only are done once.

    Args:
        truth: labels; pixels labeled 255 are ignored.
        predictions: labels below ``classes``.
        classes: number of classes.
        widths: widths of the bands in pixels, ascending.
        bands: what they are measured from.
    """
    band = band_indices(truth, widths, bands)
    truth_outlines = class_outlines(truth, _present_classes(truth))
    image_scores = []
    for prediction in predictions:
        by_band = _confusion_by_band(truth, prediction, band, classes, len(widths))
        masked = np.where(truth == IGNORE, np.uint8(IGNORE), prediction)
        present = _present_classes(masked)
        predicted_outlines = class_outlines(masked, sorted({*truth_outlines, *present}))
        missing = class_outlines(truth, [k for k in present if k not in truth_outlines])
        expected_outlines = truth_outlines | missing
        image_scores.append(
            ImageScore(
                by_band.sum(axis=0),
                None if band is None else by_band.cumsum(axis=0)[: len(widths)],
                {
                    k: score_boundary(expected_outlines[k], predicted_outlines[k])
                    for k in predicted_outlines
                },
            )
        )
    return image_scores


def _present_classes(label: Pixels) -> list[int]:
    return [int(k) for k in np.flatnonzero(np.bincount(label.ravel(), minlength=IGNORE)[:IGNORE])]


def _confusion_by_band(
    truth: Pixels, prediction: Pixels, band: NDArray[np.intp] | None, classes: int, bands: int
) -> Counts:
    """Count labeled pixels by band (the last one is outside all), truth and prediction."""
    labeled = truth != IGNORE
    index = truth[labeled].astype(np.int64) * classes + prediction[labeled]
    if band is not None:
        index += band[labeled] * classes**2
    counts = np.bincount(index, minlength=(bands + 1) * classes**2)
    return counts.reshape(bands + 1, classes, classes)


class Accumulator:
    """Scores of images one after another, which can be saved and restored."""

    LISTS: tuple[str, ...] = ("ids",)
    """Attributes that are lists with a value for each image."""
    SUMS: tuple[str, ...] = ()
    """Attributes that are arrays of sums."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def add(self, image_id: str, score: Any) -> None:
        """Add the score of one image."""
        self.ids.append(image_id)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all values, for ``restore``."""
        return {name: np.array(getattr(self, name)) for name in (*self.LISTS, *self.SUMS)}

    def merge(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Add the images whose values ``state`` returned, of this accumulator or another one."""
        for name in self.LISTS:
            getattr(self, name).extend(state[name])
        for name in self.SUMS:
            setattr(self, name, getattr(self, name) + state[name])

    def sort(self, ids: Sequence[str]) -> None:
        """Bring the images into the order of ``ids``, in whatever order they were added.

        What is not an integer is summed in this order, so that the result is the same to the bit.
        """
        position = {image_id: i for i, image_id in enumerate(ids)}
        order = sorted(range(len(self.ids)), key=lambda i: position[self.ids[i]])
        for name in self.LISTS:
            values = getattr(self, name)
            setattr(self, name, [values[i] for i in order])


class RankAccumulator(Accumulator):
    """Ranks of the images' labels."""

    LISTS = ("ids", "ranks")

    def __init__(self) -> None:
        super().__init__()
        self.ranks: list[int] = []

    def add(self, image_id: str, score: int) -> None:
        super().add(image_id, score)
        self.ranks.append(score)


class ScoreAccumulator(Accumulator):
    """Sums of image scores over a split.

    Args:
        classes: number of classes.
        widths: widths of the bands in pixels.
    """

    LISTS = ("ids", "cells", "f_scores")
    SUMS = ("bands", "num_with_borders", "intersection", "union")

    def __init__(self, *, classes: int, widths: Sequence[float]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.cells: list[tuple[Counts, Counts]] = []
        """Cells of each image's confusion matrix that are not zero, and their pixels."""
        self.bands = np.zeros((len(self.widths), classes, classes), np.int64)
        self.num_with_borders = np.zeros((), np.int64)
        """Number of images that have the borders which bands are measured from."""
        self.f_scores: list[NDArray[np.float64]] = []
        """Boundary F-score of each class ``(K,)`` by image; nan if it is not defined."""
        self.intersection, self.union = (np.zeros(classes, np.int64) for _ in range(2))

    def add(self, image_id: str, score: ImageScore) -> None:
        super().add(image_id, score)
        self.cells.append(cell_counts(score.confusion))
        if score.bands is not None:
            self.bands += score.bands
            self.num_with_borders += 1
        f_scores = np.full(len(self.union), np.nan)
        for k, boundary in score.boundary.items():
            self.intersection[k] += boundary.intersection
            self.union[k] += boundary.union
            f_scores[k] = boundary.f_score
        self.f_scores.append(f_scores)

    def state(self) -> dict[str, NDArray[Any]]:
        arrays = {name: np.array(getattr(self, name)) for name in ("ids", "f_scores", *self.SUMS)}
        confusions = self.confusions
        return arrays | {name: getattr(confusions, name) for name in ("sizes", "cells", "counts")}

    def merge(self, state: Mapping[str, NDArray[Any]]) -> None:
        confusions = ImageConfusions(
            len(self.union), state["sizes"], state["cells"], state["counts"]
        )
        parts = [confusions.part(index) for index in range(len(confusions))]
        super().merge({**state, "cells": parts})  # type: ignore[dict-item]

    @property
    def confusions(self) -> ImageConfusions:
        """Confusion matrices of the images."""
        return ImageConfusions.join(self.cells, len(self.union))

    @property
    def scores(self) -> Scores:
        """Scores of all images together."""
        return scores(self.confusions.total)

    @property
    def band_scores(self) -> list[tuple[float, Scores]]:
        """Width and scores of each band; empty if no image has a border."""
        if not self.num_with_borders:
            return []
        return [(w, scores(counts)) for w, counts in zip(self.widths, self.bands, strict=True)]

    def boundary_result(self, class_names: Sequence[str]) -> BoundaryResult:
        """Return scores of the bands, boundary F-score and boundary IoU, in percent.

        Scores of classes that occur nowhere are nan.
        """
        f_scores = np.reshape(self.f_scores, (-1, len(self.union)))
        with np.errstate(invalid="ignore", divide="ignore"):
            f = np.nansum(f_scores, axis=0) / np.sum(~np.isnan(f_scores), axis=0)
        iou = intersection_over_union(self.intersection, self.union)
        by_class = [
            in_percent(dict(zip(class_names, values.tolist(), strict=True))) for values in (f, iou)
        ]
        return BoundaryResult(
            images_with_borders=int(self.num_with_borders),
            bands=tuple(
                Band(width=width, scores=in_percent(band.values))
                for width, band in self.band_scores
            ),
            scores={"boundary_F": to_percent(_mean(f)), "boundary_IoU": to_percent(_mean(iou))},
            class_boundary_F=by_class[0],
            class_boundary_IoU=by_class[1],
        )


def _mean(values: NDArray[np.float64]) -> float:
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if len(valid) else float("nan")
