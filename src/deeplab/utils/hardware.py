"""Execution settings of a machine: accelerator, precision, memory format, compilation, workers.

Lightning's own ``auto`` chooses the accelerator and the devices only.
"""

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
    validation_precision: str
    """Precision of the validations of a training."""
    channels_last: bool
    compiled: bool
    fused_optimizer: bool
    num_workers: int
    """Processes that load data, for each device."""
    indices: tuple[int, ...] = ()
    """Indices of the GPUs, if they were named."""

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """The dtype of mixed precision; None without mixed precision."""
        dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
        return dtypes.get(self.precision)

    def __str__(self) -> str:
        name = torch.cuda.get_device_name() if self.accelerator == "cuda" else self.accelerator
        memory_format = "channels_last" if self.channels_last else "contiguous"
        compiled = "compiled" if self.compiled else "not compiled"
        precision = self.precision
        if self.validation_precision != precision:
            precision += f" (validation {self.validation_precision})"
        return (
            f"{self.devices} x {name}, {precision}, {memory_format}, {compiled}, "
            f"{self.num_workers} loading workers"
        )


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


def default_num_workers(gpu: bool, devices: int) -> int:
    """Return the number of loading processes for each device."""
    cores = cpu_count() // devices
    return min(16, cores) if gpu else 0 if cores <= 4 else 2
