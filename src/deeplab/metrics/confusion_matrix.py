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
    image_counts: Tensor
    """Counts of each label map of the last update: ``(N, K, K)``."""

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        empty = torch.zeros(num_classes, num_classes, dtype=torch.long)
        self.add_state("matrix", empty, dist_reduce_fx="sum")

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add label maps.

        Args:
            prediction: integers below ``num_classes``, ``(N, H, W)`` or of one map.
            truth: the same shape and range, or 255 for ignored pixels.
        """
        maps, classes = truth.shape[:-2].numel(), self.num_classes
        truth, prediction = truth.reshape(maps, -1), prediction.reshape(maps, -1)
        number = torch.arange(maps, device=truth.device)[:, None]
        pairs = (number * classes + truth.long()) * classes + prediction.long()
        counts = torch.bincount(pairs[truth != IGNORE], minlength=maps * classes**2)
        self.image_counts = counts.view(maps, classes, classes)
        self.matrix += self.image_counts.sum(0)

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
