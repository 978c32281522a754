"""Scores of label maps, image by image, and what they add up to over a split."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.metrics.boundary import BoundaryScore, band_of, compare, outlines
from deeplab.metrics.confusion_matrix import Scores, scores
from deeplab.metrics.percent import to_percent
from deeplab.utils.constants import IGNORE

Pixels = NDArray[np.uint8]
Counts = NDArray[np.int64]


class ImageScore(NamedTuple):
    """What one image adds."""

    confusion: Counts
    """Pixels by truth (row) and prediction (column): ``(K, K)``."""
    bands: Counts | None
    """The same within each band: ``(bands, K, K)``; None without a pixel labeled 255."""
    boundary: dict[int, BoundaryScore]
    """By class, of those in truth or prediction."""


def score_image(
    truth: Pixels, predictions: Sequence[Pixels], *, classes: int, widths: Sequence[float]
) -> list[ImageScore]:
    """Score several predictions ``(H, W)`` of one image; what depends on the truth is done once.

    Args:
        truth: labels, 255 where a pixel counts for nothing.
        predictions: labels below ``classes``.
        classes: how many there are.
        widths: of the bands, in pixels, rising.
    """
    band = band_of(truth, widths)
    known = outlines(truth, _present(truth))
    found = []
    for prediction in predictions:
        by_band = _counts(truth, prediction, band, classes, len(widths))
        labeled = np.where(truth == IGNORE, np.uint8(IGNORE), prediction)
        present = _present(labeled)
        ours = outlines(labeled, sorted({*known, *present}))
        missing = outlines(truth, [k for k in present if k not in known])
        theirs = known | missing
        found.append(
            ImageScore(
                by_band.sum(axis=0),
                None if band is None else by_band.cumsum(axis=0)[: len(widths)],
                {k: compare(theirs[k], ours[k]) for k in ours},
            )
        )
    return found


def _present(label: Pixels) -> list[int]:
    return [int(k) for k in np.flatnonzero(np.bincount(label.ravel(), minlength=IGNORE)[:IGNORE])]


def _counts(
    truth: Pixels, prediction: Pixels, band: NDArray[np.intp] | None, classes: int, bands: int
) -> Counts:
    """Labeled pixels by band (the last one: outside all), truth and prediction."""
    labeled = truth != IGNORE
    index = truth[labeled].astype(np.int64) * classes + prediction[labeled]
    if band is not None:
        index += band[labeled] * classes**2
    counted = np.bincount(index, minlength=(bands + 1) * classes**2)
    return counted.reshape(bands + 1, classes, classes)


class ScoreAccumulator:
    """The sum over images.

    Args:
        classes: how many there are.
        widths: of the bands, in pixels.
    """

    _SUMS = ("bands", "with_void", "f_sum", "f_count", "intersection", "union")

    def __init__(self, *, classes: int, widths: Sequence[float]) -> None:
        self.widths = tuple(widths)
        self.ids: list[str] = []
        self.confusions: list[Counts] = []
        self.bands = np.zeros((len(self.widths), classes, classes), np.int64)
        self.with_void = np.zeros((), np.int64)
        """Images that have pixels labeled 255."""
        self.f_sum, self.f_count = np.zeros(classes), np.zeros(classes, np.int64)
        self.intersection, self.union = (np.zeros(classes, np.int64) for _ in range(2))

    def add(self, image_id: str, score: ImageScore) -> None:
        """Count one more image."""
        self.ids.append(image_id)
        self.confusions.append(score.confusion)
        if score.bands is not None:
            self.bands += score.bands
            self.with_void += 1
        for k, boundary in score.boundary.items():
            self.intersection[k] += boundary.intersection
            self.union[k] += boundary.union
            if boundary.f == boundary.f:
                self.f_sum[k] += boundary.f
                self.f_count[k] += 1

    def state(self) -> dict[str, NDArray[Any]]:
        """All that is counted, for ``restore``."""
        sums = {name: getattr(self, name) for name in self._SUMS}
        return {"ids": np.array(self.ids), "confusions": np.array(self.confusions), **sums}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what ``state`` gave."""
        self.ids, self.confusions = state["ids"].tolist(), list(state["confusions"])
        for name in self._SUMS:
            setattr(self, name, state[name])

    @property
    def scores(self) -> Scores:
        """Of all images together."""
        return scores(np.sum(self.confusions, axis=0))

    @property
    def band_scores(self) -> list[tuple[float, Scores]]:
        """Of each band; none where no image has a border labeled 255."""
        if not self.with_void:
            return []
        return [(w, scores(counts)) for w, counts in zip(self.widths, self.bands, strict=True)]

    def boundary_report(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Bands, boundary F-score and boundary IoU; a class that occurs nowhere has none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            f, iou = self.f_sum / self.f_count, self.intersection / self.union
        return {
            "images_with_borders": int(self.with_void),
            "bands": [
                {
                    "width": width,
                    "mIoU": to_percent(found.miou),
                    "pixel_accuracy": to_percent(found.pixel_accuracy),
                }
                for width, found in self.band_scores
            ],
            "boundary_F": to_percent(_mean(f)),
            "class_boundary_F": dict(zip(class_names, map(to_percent, f.tolist()), strict=True)),
            "boundary_IoU": to_percent(_mean(iou)),
            "class_boundary_IoU": dict(
                zip(class_names, map(to_percent, iou.tolist()), strict=True)
            ),
        }


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
