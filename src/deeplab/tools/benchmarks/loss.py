"""Benchmark of the fused loss against upsampling the whole batch and calling cross-entropy."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab.training.losses import SegmentationLoss
from deeplab.utils.constants import IGNORE

BATCH, CLASSES, SMALL, LARGE = 4, 21, 129, 513


def plain_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of logits that are upsampled to the size of the labels."""
    size = (labels.shape[1], labels.shape[2])
    upsampled = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=True)
    return F.cross_entropy(upsampled, labels, ignore_index=IGNORE)


def compare_losses(*, repeats: int) -> None:
    """Time forward and backward of both losses in turn, and print the medians and their ratio.

    This is done for float32 logits and for those of mixed precision.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"{BATCH} x {CLASSES} x {SMALL} x {SMALL} logits, {LARGE} x {LARGE} labels, forward and "
        f"backward, {device}, {torch.get_num_threads()} threads, median of {repeats}"
    )
    logits = torch.randn(BATCH, CLASSES, SMALL, SMALL, device=device)
    _compare("float32", logits, repeats)
    channels_last = logits.bfloat16().to(memory_format=torch.channels_last)
    _compare("bfloat16, channels_last", channels_last, repeats)


def _compare(name: str, logits: Tensor, repeats: int) -> None:
    logits.requires_grad_()
    device = logits.device
    labels = torch.randint(0, CLASSES, (BATCH, LARGE, LARGE), device=device)
    labels[:, :20] = IGNORE
    fused = SegmentationLoss().to(device)
    seconds: dict[str, list[float]] = {"plain": [], "fused": []}
    for repeat in range(repeats + 1):
        for kind, loss in (("plain", plain_loss), ("fused", fused)):
            elapsed = _time(loss, logits, labels)
            if repeat:  # the first run is the warm-up
                seconds[kind].append(elapsed)
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    print(name)
    for kind, median in medians.items():
        span = f"{1e3 * min(seconds[kind]):.1f} to {1e3 * max(seconds[kind]):.1f}"
        print(f"  {kind}  {1e3 * median:8.1f} ms  ({span})")
    print(f"  fused / plain = {medians['fused'] / medians['plain']:.2f}")


def _time(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> float:
    logits.grad = None
    _wait(logits)
    start = time.perf_counter()
    loss(logits, labels).backward()  # type: ignore[no-untyped-call]
    _wait(logits)
    return time.perf_counter() - start


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()
