"""Top-1 and top-5 error of classifiers, and their losses.

Labels are ``(N, M)`` class indices, as many as the picture with the most of them has; the others'
rows end in -1. No array of classes by pictures is made of them, however many classes there are.

A picture counts as right in the first k if any of its labels is among the k classes with the
highest logits; where there is one label each that is ImageNet's measure. Of equal logits the class
with the lower index stands first, as it does for ``argmax``: a network that tells nothing apart
gains nothing.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

UNLABELED = -1
"""In place of a label, and the rank of a picture that has none."""

TOP = (1, 5)


class Errors(NamedTuple):
    """Parts of 1 of the labeled pictures; nan if there is none."""

    top1: float
    top5: float


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """The place of each picture's best label, ``(N,)``: 0 if it is the class with the highest
    logit, -1 for a picture without a label. A logit that is no number stands before all others.

    Args:
        logits: ``(N, K)``.
        labels: ``(N, M)``, see the head of the file.
    """
    classes = torch.arange(logits.shape[1], device=logits.device)
    place = torch.full(labels.shape[:1], logits.shape[1], device=logits.device)
    for label in labels.unbind(1):  # (N,)
        own = logits.gather(1, label.clamp(min=0)[:, None])  # (N, 1)
        behind = (logits < own) | ((logits == own) & (classes > label[:, None]))
        found = logits.shape[1] - 1 - behind.sum(1)
        place = torch.where(label == UNLABELED, place, torch.minimum(place, found))
    return torch.where((labels == UNLABELED).all(1), UNLABELED, place)


class TopErrors(Metric):
    """Counts pictures, exactly, also over several processes."""

    full_state_update = False
    pictures: Tensor
    wrong: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("pictures", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("wrong", torch.zeros(len(TOP), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, place: Tensor) -> None:
        """Add the ``ranks`` of some pictures."""
        self.pictures += (place != UNLABELED).sum()
        self.wrong += torch.stack([(place >= k).sum() for k in TOP])

    def compute(self) -> Errors:
        wrong, pictures = self.wrong.cpu().double(), self.pictures.cpu().double()
        return Errors(*(wrong / pictures).tolist())
