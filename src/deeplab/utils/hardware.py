"""Execution settings of a machine: accelerator, precision, memory format, compilation, workers.

Lightning's own ``auto`` chooses the accelerator and the devices only.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from deeplab.utils.errors import UserError
from deeplab.utils.parallel import cpu_count


@dataclass(frozen=True)
class Execution:
    """Execution settings, which affect speed but do not define the experiment."""

    accelerator: str
    """``cpu``, ``cuda`` or ``mps``."""
    devices: int
    precision: str
    """Lightning's name: ``32-true``, ``bf16-mixed`` or ``16-mixed``."""
    channels_last: bool
    compiled: bool
    fused_optimizer: bool
    num_workers: int
    """Processes that load data, for each device."""

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """The dtype of mixed precision; None without mixed precision."""
        dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
        return dtypes.get(self.precision)

    def __str__(self) -> str:
        name = torch.cuda.get_device_name() if self.accelerator == "cuda" else self.accelerator
        memory_format = "channels_last" if self.channels_last else "contiguous"
        compiled = "compiled" if self.compiled else "not compiled"
        return (
            f"{self.devices} x {name}, {self.precision}, {memory_format}, {compiled}, "
            f"{self.num_workers} loading workers"
        )


def choose_execution(
    *,
    accelerator: str = "auto",
    devices: int | str = 1,
    precision: str = "auto",
    memory_format: str = "auto",
    compile: bool | str = "auto",
    num_workers: int | str = "auto",
) -> Execution:
    """Resolve every ``auto`` for this machine.

    On a GPU: bfloat16 where it is native, channels_last, a compiled network, a fused optimizer. On
    a CPU: bfloat16 and channels_last where its matrix units support bfloat16 (AMX: measured 1.5 to
    2.6 times as fast as contiguous float32 for ResNets and Xception-65 at 161 pixels), else float32
    and contiguous; never compiled, which alone took most of a minute for a tiny network; and no
    loading workers on few cores, where they would take the cores that the network needs.

    Raises:
        UserError: this machine does not have the accelerator or that many devices.
    """
    accelerator = _resolve_accelerator(accelerator)
    available = torch.cuda.device_count() if accelerator == "cuda" else os.cpu_count() or 1
    count = (available if accelerator == "cuda" else 1) if devices == "auto" else int(devices)
    if count > available:
        kind = "GPUs" if accelerator == "cuda" else "cores"
        raise UserError(
            f"trainer.devices={count}: this machine has {available} {kind}. Set trainer.devices to "
            f"{available} or less."
        )
    fast_bf16 = _has_fast_bf16(accelerator)
    gpu = accelerator == "cuda"
    if precision == "auto":
        precision = "bf16-mixed" if fast_bf16 else "32-true"
    channels_last = gpu or (fast_bf16 and precision != "32-true")
    return Execution(
        accelerator=accelerator,
        devices=count,
        precision=precision,
        channels_last=channels_last
        if memory_format == "auto"
        else memory_format == "channels_last",
        compiled=gpu and _can_compile() if compile == "auto" else bool(compile),
        fused_optimizer=gpu,
        num_workers=_default_num_workers(gpu, count) if num_workers == "auto" else int(num_workers),
    )


def _resolve_accelerator(name: str) -> str:
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(key for key, is_available in available.items() if is_available)
    name = {"gpu": "cuda"}.get(name, name)
    if not available[name]:
        names = [key for key, is_available in available.items() if is_available]
        raise UserError(
            f"trainer.accelerator={name}: not available on this machine. "
            f"Available: {', '.join(names)}."
        )
    return name


def _can_compile() -> bool:
    """Return True if torch.compile works on this GPU: it needs triton and Volta or newer."""
    return find_spec("triton") is not None and torch.cuda.get_device_capability() >= (7, 0)


def _has_fast_bf16(accelerator: str) -> bool:
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if accelerator == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    return False


def _default_num_workers(gpu: bool, devices: int) -> int:
    cores = cpu_count() // devices
    return min(16, cores) if gpu else 0 if cores <= 4 else 2
