"""What ``auto`` stands for on the machine found: precision, memory format, compilation, workers."""

import os
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from deeplab.utils.errors import UserError
from deeplab.utils.parallel import cpu_count


@dataclass(frozen=True)
class Execution:
    """How the work is run; none of it belongs to what is computed."""

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
        """Of mixed precision; None without."""
        dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
        return dtypes.get(self.precision)

    def __str__(self) -> str:
        name = torch.cuda.get_device_name() if self.accelerator == "cuda" else self.accelerator
        layout = "channels_last" if self.channels_last else "contiguous"
        compiled = "compiled" if self.compiled else "not compiled"
        return (
            f"{self.devices} x {name}, {self.precision}, {layout}, {compiled}, "
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
    """Fill in every ``auto``.

    On a GPU: bfloat16 where it is native, channels_last, a compiled network, a fused optimizer. On
    a CPU: bfloat16 and channels_last where its matrix units know bfloat16 (AMX: measured 1.5 to 2.6
    times as fast as contiguous float32 for ResNets and Xception-65 at 161 pixels), else float32 and
    contiguous; never compiled, which alone took most of a minute for a tiny network; and no loading
    workers on few cores, where they take the network's.

    Raises:
        UserError: the accelerator or that many devices are not here.
    """
    accelerator = _accelerator(accelerator)
    here = torch.cuda.device_count() if accelerator == "cuda" else os.cpu_count() or 1
    count = (here if accelerator == "cuda" else 1) if devices == "auto" else int(devices)
    if count > here:
        kind = "GPUs" if accelerator == "cuda" else "cores"
        raise UserError(f"trainer.devices={count}: this machine has {here} {kind}.")
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
        num_workers=_workers(gpu, count) if num_workers == "auto" else int(num_workers),
    )


def _accelerator(name: str) -> str:
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(key for key, there in available.items() if there)
    name = {"gpu": "cuda"}.get(name, name)
    if not available[name]:
        there = ", ".join(key for key, value in available.items() if value)
        raise UserError(f"trainer.accelerator={name}: not on this machine, which has {there}.")
    return name


def _can_compile() -> bool:
    """Whether the compiler's kernels run on this GPU: it needs triton and Volta or newer."""
    return find_spec("triton") is not None and torch.cuda.get_device_capability() >= (7, 0)


def _has_fast_bf16(accelerator: str) -> bool:
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if accelerator == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    return False


def _workers(gpu: bool, devices: int) -> int:
    share = cpu_count() // devices
    return min(16, share) if gpu else 0 if share <= 4 else 2
