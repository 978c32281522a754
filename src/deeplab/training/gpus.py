"""A GPU of its own for each process of a sweep.

Launchers that run several jobs at a time say nothing about GPUs, and all jobs would take the first.
"""

import atexit
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch

from deeplab.lock import InProgress, locked

VISIBLE = "CUDA_VISIBLE_DEVICES"

_outer: list[str | None] = []
"""What ``VISIBLE`` was, once this process has chosen."""


def use_own_gpu(job: int) -> None:
    """Let this process see one GPU, which no other process of a sweep has, until it ends.

    To be called before CUDA is initialised, which stays with what it saw then: the later jobs of a
    process have the GPU of the first one.

    Args:
        job: its number, by which GPUs are shared where there are more processes than GPUs.
    """
    if _outer or torch.cuda.device_count() < 2:
        return
    gpus = _visible()
    own = next((gpu for gpu in gpus if _take(gpu)), None)
    shared = gpus[job % len(gpus)]
    _outer.append(os.environ.get(VISIBLE))
    os.environ[VISIBLE] = own or shared
    if own is None:
        print(f"GPU:        {shared}, shared, since other jobs have all {len(gpus)}", flush=True)
    else:
        print(f"GPU:        {own} (of {', '.join(gpus)})", flush=True)


def environment() -> dict[str, str]:
    """The environment of a process that is to see all GPUs that this one saw at first."""
    variables = dict(os.environ)
    if _outer:
        del variables[VISIBLE]
        if _outer[0] is not None:
            variables[VISIBLE] = _outer[0]
    return variables


def _visible() -> list[str]:
    count = torch.cuda.device_count()
    named = os.environ.get(VISIBLE)
    return [n.strip() for n in named.split(",")][:count] if named else [*map(str, range(count))]


def _take(gpu: str) -> bool:
    """Lock a GPU for the life of this process, or find that another one has it."""
    folder = Path(tempfile.gettempdir()) / f"deeplab-gpus-{os.getuid()}"
    lock = ExitStack()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        lock.enter_context(locked(folder / gpu.replace("/", "-"), "", wait=False))
    except (InProgress, OSError):
        return False
    atexit.register(lock.close)
    return True
