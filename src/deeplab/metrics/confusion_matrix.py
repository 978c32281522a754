"""Intersection over union from one confusion matrix over a whole split.

The VOC protocol: pixels labeled 255 count for nothing, and a class that occurs neither in the
truth nor in the prediction is left out of the mean. (torchmetrics' ``JaccardIndex`` counts such a
class as 0 and its ``segmentation.MeanIoU`` has no ignored label; the matrix, its place on the
device and its sum over processes are torchmetrics' all the same.)
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from deeplab.utils.constants import IGNORE


class Scores(NamedTuple):
    """What a confusion matrix says; all from 0 to 1."""

    miou: float
    """Mean of ``class_iou`` over the classes that occur; nan if none does."""
    pixel_accuracy: float
    """Correct part of the labeled pixels; nan if there is none."""
    class_iou: list[float]
    """IoU of each class, nan where it occurs neither in truth nor in prediction."""


class ConfusionMatrix(Metric):
    """Counts pixels by truth (row) and prediction (column), exactly, also over several processes.

    Args:
        num_classes: classes, the background included.
    """

    full_state_update = False
    matrix: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        empty = torch.zeros(num_classes, num_classes, dtype=torch.long)
        self.add_state("matrix", empty, dist_reduce_fx="sum")

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add class maps of one shape, integers below ``num_classes``; the truth may hold 255."""
        labeled = truth != IGNORE
        pairs = truth[labeled].long() * self.num_classes + prediction[labeled].long()
        counts = torch.bincount(pairs, minlength=self.num_classes**2)
        self.matrix += counts.view(self.num_classes, self.num_classes)

    def compute(self) -> Tensor:
        """The matrix ``(K, K)``; ``scores`` reads it."""
        return self.matrix


def scores(matrix: Tensor | NDArray[np.int64]) -> Scores:
    """IoU and accuracy of a confusion matrix ``(K, K)``, rows truth, columns prediction."""
    counts = torch.as_tensor(matrix).cpu().double()  # not every device has float64
    correct = counts.diag()
    union = counts.sum(0) + counts.sum(1) - correct
    class_iou = correct / union  # 0 / 0 = nan: absent from both
    return Scores(
        miou=float(class_iou.nanmean()),
        pixel_accuracy=float(correct.sum() / counts.sum()),
        class_iou=class_iou.tolist(),
    )
