"""Execution settings of a machine: accelerator, precision, memory format, compilation, workers.

Lightning's own ``auto`` chooses the accelerator and the devices only.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from deeplab.utils.cores import allowed_cores, cpu_count, measure_other_load
from deeplab.utils.errors import UserError

# PyTorch's usual check whether there is a GPU initializes CUDA, after which no process can be
# restricted to one GPU (``training.gpu_selection.select_gpu``). This one asks the driver's library.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables with which users choose the number of threads."""


@dataclass(frozen=True)
class Execution:
    """Execution settings, which affect speed but do not define the experiment."""

    accelerator: str
    """``cpu``, ``cuda`` or ``mps``."""
    devices: int
    precision: str
    """Lightning's name: ``32-true``, ``bf16-mixed``, ``16-mixed`` or ``64-true``."""
    validation_precision: str
    """Precision of the validations of a training."""
    channels_last: bool
    compiled: bool
    fused_optimizer: bool
    num_workers: int
    """Processes that load data, for each device."""
    num_threads: int
    """Threads of a process that compute on the CPU."""
    other_load: float = 0.0
    """Cores that other processes use, where the number of threads was chosen by it."""
    indices: tuple[int, ...] = ()
    """Indices of the GPUs, if they were named."""

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """The dtype of mixed precision; None without mixed precision."""
        dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
        return dtypes.get(self.precision)

    @property
    def parameter_dtype(self) -> torch.dtype:
        """The dtype of the network's parameters."""
        return torch.float64 if self.precision == "64-true" else torch.float32

    def __str__(self) -> str:
        name = torch.cuda.get_device_name() if self.accelerator == "cuda" else self.accelerator
        memory_format = "channels_last" if self.channels_last else "contiguous"
        compiled = "compiled" if self.compiled else "not compiled"
        precision = self.precision
        if self.validation_precision != precision:
            precision += f" (validation {self.validation_precision})"
        text = (
            f"{self.devices} x {name}, {precision}, {memory_format}, {compiled}, "
            f"{self.num_workers} loading workers"
        )
        if self.accelerator == "cpu":
            text += f", {self.num_threads} thread{'s' * (self.num_threads > 1)}"
        if self.other_load:
            text += f" (other processes use {self.other_load:.1f} of {allowed_cores()} cores)"
        return text

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Compute on the CPU with ``num_threads`` in this context."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def resolve_accelerator(name: str) -> str:
    """Return the accelerator that ``trainer.accelerator`` names.

    Raises:
        UserError: this machine does not have it.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(key for key, is_available in available.items() if is_available)
    device = {"gpu": "cuda"}.get(name, name)
    if not available[device]:
        names = [key for key, is_available in available.items() if is_available]
        raise UserError(
            f"trainer.accelerator={name}: not available on this machine. "
            f"Available: {', '.join(names)}."
        )
    return device


def can_compile() -> bool:
    """Return True if torch.compile works on this GPU: it needs triton and Volta or newer."""
    return find_spec("triton") is not None and torch.cuda.get_device_capability() >= (7, 0)


def has_fast_bf16(accelerator: str) -> bool:
    """Return True if the accelerator computes bfloat16 faster than float32."""
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if accelerator == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        known = torch.cpu.get_capabilities()
        return any(known.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
    return False


def threads_are_set() -> bool:
    """Return True if the environment sets the number of threads."""
    return any(name in os.environ for name in THREAD_VARIABLES)


def default_num_threads(accelerator: str, devices: int) -> tuple[int, float]:
    """Return the number of threads of a process, and the cores that others use if it is lower.

    Threads wait for each other at each operation. If another process has the core of one, all
    wait: training steps of MobileNetV2 with two threads took 60 times as long as with one (crops of
    65 pixels, one of two cores busy), and without the other process 0.6 to 1.0 times as long.

    Args:
        accelerator: device of the network.
        devices: number of processes that share the cores.
    """
    threads = torch.get_num_threads()
    if threads_are_set():
        return threads, 0.0
    threads = max(1, min(threads, cpu_count() // devices))
    if accelerator != "cpu" or devices > 1:
        return threads, 0.0
    load = measure_other_load()
    free = max(1, round(allowed_cores() - load))
    return (free, load) if free < threads else (threads, 0.0)


def default_num_workers(gpu: bool, devices: int) -> int:
    """Return the number of loading processes for each device."""
    cores = cpu_count() // devices
    return min(16, cores) if gpu else 0 if cores <= 4 else 2
