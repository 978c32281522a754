"""Memory that is free or was used, of a device or a container, and errors of too little."""

import re
import resource
import sys
from pathlib import Path

OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|DefaultCPUAllocator: (can't|not enough)|"
    r"(CUDA error:|MPS backend) out of memory"
)
"""Errors of PyTorch for memory that it does not get; only some are an ``OutOfMemoryError``."""

CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
"""Files of the limit and the use of a container's memory, of both versions of control groups."""


def free_memory(device: str) -> int | None:
    """Return the bytes that are free on a device; None if the system does not tell."""
    if device == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info()
        return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    meminfo = Path("/proc/meminfo")
    if device != "cpu" or not meminfo.exists():
        return None
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    return min([free, *(_container_memory(Path(most), Path(used)) for most, used in CGROUPS)])


def peak_memory(device: str) -> int:
    """Return the most bytes that PyTorch has reserved on a GPU, or else this process has used."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_reserved()
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def is_out_of_memory(error: BaseException) -> bool:
    """Return True for an error of Python or PyTorch that tells that memory does not suffice."""
    text = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or OUT_OF_MEMORY.search(text) is not None


def _container_memory(most: Path, used: Path) -> int:
    """Return the bytes that a container may still take; a very large number without a limit."""
    try:
        cache = _unused_cache(used.with_name("memory.stat"))
        return max(0, int(most.read_text()) - max(0, int(used.read_text()) - cache))
    except (OSError, ValueError):  # there is no such file, or the limit is "max"
        return 1 << 62


def _unused_cache(stat: Path) -> int:
    """Return the bytes of files' contents that the system drops for other use, as kubelet does."""
    if not stat.exists():
        return 0
    fields = dict(line.split() for line in stat.read_text().splitlines())
    # version 1 has the sum over the groups inside of this one under the first name
    return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))
