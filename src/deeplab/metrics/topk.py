"""Top-1 and top-5 error of image classifiers.

Labels are class indices ``(N, M)``, where M is the largest number of labels of any image; the rows
of images with fewer labels end in -1. A dense array of images by classes is never created, so the
number of classes can be large.

An image counts as correct in the top k if any of its labels is among the k classes with the highest
logits; for one label per image this is ImageNet's measure. Among equal logits the class with the
lower index ranks first, as in ``argmax``, so a network with constant logits is not rewarded.
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from deeplab.metrics.definitions import TOP_K
from deeplab.utils.constants import NO_LABEL

TopKErrors = dict[str, float]
"""Error by metric (``top1_error``, ``top5_error``), as a fraction of the labeled images.

Without any, errors are nan.
"""


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the rank of each image's best-ranked label.

    Args:
        logits: ``(N, K)``.
        labels: ``(N, M)``, see the module's docstring.

    Returns:
        ``(N,)``: 0 if the label is the class with the highest logit, -1 for an image without
        labels. A nan logit of another class ranks before the label; a label whose logit is nan
        ranks last.
    """
    classes = torch.arange(logits.shape[1], device=logits.device)
    best_rank = torch.full(labels.shape[:1], logits.shape[1], device=logits.device)
    for label in labels.unbind(1):  # (N,)
        logit = logits.gather(1, label.clamp(min=0)[:, None])  # (N, 1)
        lower = (logits < logit) | ((logits == logit) & (classes > label[:, None]))
        rank = logits.shape[1] - 1 - lower.sum(1)
        best_rank = torch.where(label == NO_LABEL, best_rank, torch.minimum(best_rank, rank))
    return torch.where((labels == NO_LABEL).all(1), NO_LABEL, best_rank)


class TopKErrorMetric(Metric):
    """Exact counts of images and of errors, also over several processes."""

    full_state_update = False
    images: Tensor
    wrong: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("wrong", torch.zeros(len(TOP_K), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, rank: Tensor) -> None:
        """Add images by their ``ranks``."""
        self.images += (rank != NO_LABEL).sum()
        self.wrong += torch.stack([(rank >= k).sum() for k in TOP_K.values()])

    def compute(self) -> TopKErrors:
        """Return the errors over all images so far."""
        wrong, images = self.wrong.cpu().double(), self.images.cpu().double()
        errors = (wrong / images).tolist()
        return dict(zip(TOP_K, errors, strict=True))
