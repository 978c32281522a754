"""How fast a network is under a strategy on the machine found, and how much memory it takes."""

import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from deeplab.inference.predictor import Predictor

ENOUGH = 2.0
"""Seconds to measure for; slow strategies are measured three times all the same."""

GPU_BATCH = 8


class Speed(NamedTuple):
    """Measured with random images; making class maps is included, reading images is not."""

    latency: float
    """Seconds for one image: the median."""
    images_per_second: float
    """In batches of ``batch``."""
    batch: int
    peak_memory: int | None
    """Bytes at the latency's batch of one: on a GPU what PyTorch has allocated, else what the
    process has resident; None where the system does not say."""

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return self._asdict()


def measure_speed(
    predictor: Predictor,
    *,
    input_size: tuple[int, int],
    device: str = "cpu",
    dtype: torch.dtype | None = None,
) -> Speed:
    """Time a network under the strategies of a predictor.

    Args:
        predictor: the network, on its device.
        input_size: height and width of the image.
        device: ``cpu``, ``cuda`` or ``mps``.
        dtype: of mixed precision; None computes in float32.
    """

    def seconds(batch: int) -> float:
        images = torch.randint(0, 256, (batch, 3, *input_size), dtype=torch.uint8, device=device)
        _wait(device)
        start = time.perf_counter()
        with torch.autocast(device, dtype, enabled=dtype is not None):
            predictor.label_maps(images, [input_size] * batch)
        _wait(device)
        return time.perf_counter() - start

    def median(batch: int) -> float:
        seconds(batch)  # warms up
        taken: list[float] = []
        while len(taken) < 3 or sum(taken) < ENOUGH:
            taken.append(seconds(batch))
        return statistics.median(taken)

    _forget_peak(device)
    latency = median(1)
    peak = _peak(device)
    batch = GPU_BATCH if device == "cuda" else 1
    rate = batch / (median(batch) if batch > 1 else latency)
    return Speed(latency, rate, batch, peak)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif (references := Path("/proc/self/clear_refs")).exists():
        references.write_text("5")  # Linux: the peak starts anew


def _peak(device: str) -> int | None:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if device != "cpu" or not status.exists():
        return None
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
