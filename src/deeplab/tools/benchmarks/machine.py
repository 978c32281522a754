"""Description of a machine, and its limits: the rates of matrix products and of copying memory."""

import platform
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.benchmark import Timer

from deeplab.utils.settings import Settings


class Machine(Settings):
    """A machine, the versions on it, and how fast it can be at best."""

    device: str
    threads: int
    torch: str
    commit: str | None
    """Commit of this project's code."""
    float32_tflops: float
    """Rate of products of large square matrices, in 10¹² operations per second."""
    bfloat16_tflops: float
    copied_gb_per_second: float
    """Bytes that are copied within the memory, each counted once, in 10⁹ per second."""

    def __str__(self) -> str:
        """Return a line about the machine and its limits."""
        return (
            f"{self.device}, {self.threads} threads, torch {self.torch}. Limits: matrix products "
            f"{self.float32_tflops:.3g} TFLOP/s in float32 and {self.bfloat16_tflops:.3g} in "
            f"bfloat16, copies {self.copied_gb_per_second:.3g} GB/s"
        )

    def same_conditions(self, other: "Machine") -> bool:
        """Return True if results of both machines can stand in one table."""
        rates = {"float32_tflops", "bfloat16_tflops", "copied_gb_per_second"}
        return self.model_dump(exclude=rates) == other.model_dump(exclude=rates)


def measure_machine(commit: str | None) -> Machine:
    """Describe this machine and measure its rates, which takes some seconds."""
    gpu = torch.cuda.is_available()
    device, side = ("cuda", 8192) if gpu else ("cpu", 2048)

    def product_rate(dtype: torch.dtype) -> float:
        a = torch.randn(side, side, device=device).to(dtype)
        return 2 * side**3 / _seconds(lambda: a @ a) / 1e12

    block = torch.zeros(1 << 28, dtype=torch.uint8, device=device)
    return Machine(
        device=torch.cuda.get_device_name() if gpu else _cpu_name(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        commit=commit,
        float32_tflops=product_rate(torch.float32),
        bfloat16_tflops=product_rate(torch.bfloat16),
        copied_gb_per_second=block.nbytes / _seconds(block.clone) / 1e9,
    )


def _seconds(work: Callable[[], object]) -> float:
    timer = Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    return float(timer.blocked_autorange(min_run_time=0.5).median)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
