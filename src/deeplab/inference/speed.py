"""Speed and memory of a network under an inference strategy, measured on this machine."""

import re
import statistics
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from deeplab.inference.predictor import Predictor

MIN_SECONDS = 2.0
"""Minimum duration of a measurement; it also has at least three repetitions."""

GPU_BATCH = 8
"""Batch size of the throughput measurement on a GPU."""


CLEAR_REFS = Path("/proc/self/clear_refs")
"""File of Linux that resets the peak resident memory of this process when 5 is written to it."""

STATUS = Path("/proc/self/status")


class Speed(NamedTuple):
    """Speed on random images, including the computation of label maps but not reading images."""

    latency: float
    """Median of the seconds per image at batch size 1."""
    images_per_second: float
    """Throughput at batch size ``batch``."""
    batch: int
    """Batch size of the throughput measurement."""
    peak_memory_bytes: int | None
    """Peak memory in bytes at batch size 1: on a GPU the memory that PyTorch has allocated, on a
    CPU the resident memory of the process; None if the system does not report it."""


def measure_speed(
    predictor: Predictor,
    *,
    input_size: tuple[int, int],
    device: str = "cpu",
    dtype: torch.dtype | None = None,
) -> Speed:
    """Measure the speed of a network under the strategies of a predictor.

    Args:
        predictor: the network, on its device.
        input_size: height and width of the image.
        device: ``cpu``, ``cuda`` or ``mps``.
        dtype: data type of mixed precision; None for float32.
    """

    def seconds(batch: int) -> float:
        shape = (batch, predictor.model.in_channels, *input_size)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
        _synchronize(device)
        start = time.perf_counter()
        with torch.autocast(device, dtype, enabled=dtype is not None):
            predictor.label_maps(images, [input_size] * batch)
        _synchronize(device)
        return time.perf_counter() - start

    def median(batch: int) -> float:
        seconds(batch)  # warm-up
        times: list[float] = []
        while len(times) < 3 or sum(times) < MIN_SECONDS:
            times.append(seconds(batch))
        return statistics.median(times)

    _reset_peak_memory(device)
    latency = median(1)
    peak = _peak_memory(device)
    batch = GPU_BATCH if device == "cuda" else 1
    images_per_second = batch / (median(batch) if batch > 1 else latency)
    return Speed(latency, images_per_second, batch, peak)


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def _reset_peak_memory(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):  # another system, or a container that refuses it
            CLEAR_REFS.write_text("5")


def _peak_memory(device: str) -> int | None:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    if device != "cpu" or not STATUS.exists():
        return None
    peak = re.search(r"^VmHWM:\s*(\d+)", STATUS.read_text(), re.MULTILINE)
    return int(peak[1]) * 1024 if peak else None
