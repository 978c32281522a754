"""A GPU of its own for each job of a sweep."""

import os
import tempfile
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from deeplab.config.schema.trainer import TrainerSettings
from deeplab.utils.errors import UserError
from deeplab.utils.program import pythonpath

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"

_original_value: list[str | None] = []
"""Value of ``VISIBLE_DEVICES`` before this process selected a GPU; empty until then."""


def check_gpu(trainer: TrainerSettings) -> None:
    """Check that there is a GPU if one is named, without initializing CUDA as ``select_gpu`` needs.

    Raises:
        UserError: there is none.
    """
    if trainer.accelerator in ("gpu", "cuda") and not torch.cuda.device_count():
        raise UserError(
            f"trainer.accelerator={trainer.accelerator}: this machine has no GPU. Leave it out, or "
            "set trainer.accelerator=cpu."
        )


def select_gpu(job: int) -> None:
    """Restrict this process to one GPU that no other process of a sweep has selected.

    Hydra's ``hydra.job.env_set`` knows the number of a job, but not which GPU is free: jobs end in
    any order, and two sweeps may share the machine.

    Must be called before CUDA is initialized, because CUDA ignores later changes. Later jobs of
    the same process therefore keep the GPU of the first one.

    Args:
        job: number of the job; jobs share GPUs by it if there are more processes than GPUs.
    """
    if _original_value or torch.cuda.device_count() < 2:
        return
    gpus = _visible_gpus()
    free = next((gpu for gpu in gpus if _lock_gpu(gpu)), None)
    shared = gpus[job % len(gpus)]
    _original_value.append(os.environ.get(VISIBLE_DEVICES))
    os.environ[VISIBLE_DEVICES] = free or shared
    if free is None:
        print(f"GPU:        {shared} (shared: other jobs use all {len(gpus)} GPUs)", flush=True)
    else:
        print(f"GPU:        {free} (of {', '.join(gpus)})", flush=True)


def subprocess_environment() -> dict[str, str]:
    """Return the environment of a child, which sees all GPUs that this process saw at first."""
    variables = os.environ | {"PYTHONPATH": pythonpath()}
    if _original_value:
        del variables[VISIBLE_DEVICES]
        if _original_value[0] is not None:
            variables[VISIBLE_DEVICES] = _original_value[0]
    return variables


def _visible_gpus() -> list[str]:
    count = torch.cuda.device_count()
    value = os.environ.get(VISIBLE_DEVICES)
    return [n.strip() for n in value.split(",")][:count] if value else [*map(str, range(count))]


_gpu_locks: list[FileLock] = []
"""Lock of this process's GPU, which the system releases when the process ends, however it ends."""


def _lock_gpu(gpu: str) -> bool:
    """Lock a GPU until this process ends; return False if another process has it."""
    name = f"deeplab-gpu-{os.getuid()}-{gpu.replace('/', '-')}"
    lock = FileLock(Path(tempfile.gettempdir(), name), blocking=False)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return False
    _gpu_locks.append(lock)
    return True
