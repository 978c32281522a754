"""The fused loss against upsampling the whole batch and calling cross-entropy."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab.loss import IGNORE, SegmentationLoss

BATCH, CLASSES, SMALL, LARGE = 4, 21, 129, 513


def plain_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The obvious alternative."""
    size = (labels.shape[1], labels.shape[2])
    upsampled = F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
    return F.cross_entropy(upsampled, labels, ignore_index=IGNORE)


def compare_losses(*, repeats: int) -> None:
    """Time forward and backward of both in turn; print the medians and their ratio."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    logits = torch.randn(BATCH, CLASSES, SMALL, SMALL, device=device, requires_grad=True)
    labels = torch.randint(0, CLASSES, (BATCH, LARGE, LARGE), device=device)
    labels[:, :20] = IGNORE
    fused = SegmentationLoss().to(device)
    seconds: dict[str, list[float]] = {"plain": [], "fused": []}
    for repeat in range(repeats + 1):
        for name, loss in (("plain", plain_loss), ("fused", fused)):
            taken = _time(loss, logits, labels)
            if repeat:  # the first one warms up
                seconds[name].append(taken)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(
        f"{BATCH} x {CLASSES} x {SMALL} x {SMALL} logits, {LARGE} x {LARGE} labels, forward and "
        f"backward, {device}, {torch.get_num_threads()} threads, median of {repeats}"
    )
    for name, median in medians.items():
        spread = f"{1e3 * min(seconds[name]):.1f} to {1e3 * max(seconds[name]):.1f}"
        print(f"  {name}  {1e3 * median:8.1f} ms  ({spread})")
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
