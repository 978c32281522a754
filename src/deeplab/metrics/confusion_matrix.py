"""Intersection over union from one confusion matrix over a whole split.

This is the VOC protocol: pixels labeled 255 are ignored, and a class that occurs neither in the
truth nor in the prediction is left out of the mean. (torchmetrics' ``JaccardIndex`` counts such a
class as 0, and its ``segmentation.MeanIoU`` has no ignored label. Only its ``Metric`` is used here:
it keeps the matrix on the device and sums it over processes.)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from deeplab.metrics.definitions import SEGMENTATION
from deeplab.metrics.iou import class_iou, mean_over_classes
from deeplab.utils.constants import IGNORE


class Scores(NamedTuple):
    """Scores of a confusion matrix, all from 0 to 1."""

    values: dict[str, float]
    """Value of each metric of ``deeplab.metrics.definitions.SEGMENTATION`` by its key."""
    class_iou: list[float]
    """IoU of each class; nan for a class that occurs neither in truth nor in prediction."""

    @property
    def miou(self) -> float:
        """Mean of ``class_iou`` over the classes that occur; nan if none occurs."""
        return self.values["mIoU"]


class ConfusionMatrix(Metric):
    """Exact counts of pixels by truth (row) and prediction (column), also over several processes.

    Args:
        num_classes: number of classes, including the background.
    """

    full_state_update = False
    matrix: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        empty = torch.zeros(num_classes, num_classes, dtype=torch.long)
        self.add_state("matrix", empty, dist_reduce_fx="sum")

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add label maps.

        Args:
            prediction: integers below ``num_classes``.
            truth: the same shape and range, or 255 for ignored pixels.
        """
        valid = truth != IGNORE
        pairs = truth[valid].long() * self.num_classes + prediction[valid].long()
        counts = torch.bincount(pairs, minlength=self.num_classes**2)
        self.matrix += counts.view(self.num_classes, self.num_classes)

    def compute(self) -> Tensor:
        """Return the matrix ``(K, K)``, from which ``scores`` computes IoU and accuracy."""
        return self.matrix


def mean_iou(counts: NDArray[np.int64]) -> float:
    """Return the mean of the IoU over the classes that occur; nan if none occurs."""
    return float(mean_over_classes(class_iou(counts)))


def pixel_accuracy(counts: NDArray[np.int64]) -> float:
    """Return the fraction of the labeled pixels that are correct; nan if no pixel is labeled."""
    total = counts.sum()
    return float(counts.trace() / total) if total else float("nan")


FUNCTIONS: dict[str, Callable[[NDArray[np.int64]], float]] = {
    "mIoU": mean_iou,
    "pixel_accuracy": pixel_accuracy,
}
"""Function of a confusion matrix ``(K, K)`` for each metric of ``SEGMENTATION``."""


def scores(matrix: Tensor | NDArray[np.int64]) -> Scores:
    """Return the scores of a confusion matrix ``(K, K)``: rows truth, columns prediction."""
    counts = torch.as_tensor(matrix).cpu().numpy()
    values = {metric.key: FUNCTIONS[metric.key](counts) for metric in SEGMENTATION}
    return Scores(values, class_iou(counts).tolist())
