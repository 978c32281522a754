"""DataLoader that also works where shared memory is small, as in a container.

PyTorch's workers hand over batches in ``/dev/shm``, by either sharing strategy. If it is too small
for them, a worker dies or everything waits. The batches then go through pipes, as NumPy arrays. If
there is no room for the workers' locks either, or it is read-only, there are no workers.
"""

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

from deeplab.utils.interrupts import leave_signals_to_parent
from deeplab.utils.parallel import is_first_process
from deeplab.utils.text import format_size

SHARED_MEMORY = Path("/dev/shm")

BATCHES_PER_WORKER = 3
"""Batches of a worker that exist at a time: two that it has prefetched and one in use."""

LOCK_BYTES = 32 * 1024
"""Space for the locks of a worker, or of a loader, in training and validation together."""

_reported: list[bool] = []


def build_loader(dataset: Any, *, num_workers: int, batch_bytes: int, **kwargs: Any) -> Any:
    """Return a DataLoader whose data set returns whole batches.

    Args:
        dataset: the data set.
        num_workers: number of worker processes.
        batch_bytes: size of the batches that all processes of this machine have in use at a time,
            for one batch of each worker.
        kwargs: further arguments of ``DataLoader``.
    """
    loader, collate = DataLoader, _identity
    needed = num_workers * BATCHES_PER_WORKER * batch_bytes
    free = _free_shared_memory()
    if num_workers and free < needed:
        if free < (2 + num_workers) * LOCK_BYTES:
            instead, num_workers = "This process loads the images instead", 0
        else:
            instead = "They send images through pipes instead"
            loader, collate = _PipeLoader, _to_arrays
        _report(free, needed, instead)
    return loader(
        dataset,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=collate,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # keeps loaders off the global generator
        **kwargs,
    )


def _start_worker(worker: int) -> None:
    """Leave signals to the parent, and the other cores to the other workers."""
    leave_signals_to_parent()
    cv2.setNumThreads(0)


def _free_shared_memory() -> float:
    """Return the free bytes of shared memory; infinite where it is no file system (not Linux)."""
    if not SHARED_MEMORY.is_dir():
        return math.inf
    return shutil.disk_usage(SHARED_MEMORY).free if os.access(SHARED_MEMORY, os.W_OK) else 0


def _report(free: float, needed: int, instead: str) -> None:
    if not _reported and is_first_process():
        _reported.append(True)
        print(
            f"{SHARED_MEMORY}: {format_size(free)} free, but the loading workers need up to "
            f"{format_size(needed)}. {instead}, which is slower. (In Docker, --shm-size=8g makes "
            "it larger.)"
        )


class _PipeLoader(DataLoader[Any]):
    """DataLoader whose workers send arrays instead of tensors, which would be shared."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return map(_to_tensors, super().__iter__())


def _identity(batch: Any) -> Any:
    return batch  # the data set returns whole batches


def _to_arrays(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch with arrays; images become ``(N, H, W, C)``, which keeps their order."""
    return {name: _to_array(value) for name, value in batch.items()}


def _to_array(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return (value.permute(0, 2, 3, 1) if value.ndim == 4 else value).numpy()


def _to_tensors(batch: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _to_tensor(value) if hasattr(value, "__array__") else value
        for name, value in batch.items()
    }


def _to_tensor(array: Any) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor
