"""Benchmark of the fused loss against upsampling the whole batch and calling cross-entropy."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from deeplab.tools.benchmarks.networks import plain_loss
from deeplab.tools.benchmarks.timing import Comparison, compare
from deeplab.training.losses import SegmentationLoss
from deeplab.utils.constants import IGNORE

BATCH, CLASSES, SMALL, LARGE = 4, 21, 129, 513


def compare_losses(*, repeats: int) -> list[Comparison]:
    """Time forward and backward of both losses in turn, and print the medians and their ratio.

    This is done for float32 logits and for those of mixed precision.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"{BATCH} x {CLASSES} x {SMALL} x {SMALL} logits, {LARGE} x {LARGE} labels, forward and "
        f"backward, {device}"
    )
    logits = torch.randn(BATCH, CLASSES, SMALL, SMALL, device=device)
    labels = torch.randint(0, CLASSES, (BATCH, LARGE, LARGE), device=device)
    labels[:, :20] = IGNORE
    mixed = logits.bfloat16().to(memory_format=torch.channels_last)
    fused_loss = SegmentationLoss().to(device)
    comparisons = []
    for name, values in (("float32", logits), ("bfloat16, channels_last", mixed)):
        values.requires_grad_()
        works = {
            "plain": partial(_step, plain_loss, values, labels),
            "this project": partial(_step, fused_loss, values, labels),
        }
        comparisons += compare(f"loss, {name}", works, repeats=repeats)
    return comparisons


def _step(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> None:
    logits.grad = None
    loss(logits, labels).backward()  # type: ignore[no-untyped-call]
