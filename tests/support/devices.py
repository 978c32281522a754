"""Functions that run in several processes, as devices of one training."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

# Imported later, its functions would keep the group of processes as a default argument: threads
# of the group would outlive it and could abort the interpreter's end.
import torch.distributed.nn
from torch import distributed, multiprocessing


def run_on_devices(
    count: int, folder: Path, calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]
) -> list[tuple[Any, ...]]:
    """Call functions ``function(rank, count, *arguments)`` in ``count`` processes.

    Returns:
        For each call what the processes return.
    """
    multiprocessing.spawn(_run, (count, folder, calls), nprocs=count)
    return list(zip(*(torch.load(folder / f"{rank}.pt") for rank in range(count)), strict=True))


def _run(rank: int, count: int, folder: Path, calls: Any) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count
    )
    results = [function(rank, count, *arguments) for function, arguments in calls]
    torch.save(results, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def loss_and_gradient(rank, count, loss, logits, labels):
    """Return the loss of a batch that the devices share, and its gradient for their logits."""
    from deeplab.training.collectives import mean_over_devices

    own = slice(rank * len(logits) // count, (rank + 1) * len(logits) // count)
    part = logits[own].clone().requires_grad_()
    value = mean_over_devices(loss(part, labels[own]))
    value.backward()
    return value.detach(), part.grad / count  # as the average over devices does


def normalize(rank, count, norm, images, upstream):
    """Return output, gradients and running statistics of a synchronized batch norm."""
    from deeplab.training.sync_batch_norm import SyncBatchNormPlugin

    norm = deepcopy(norm)  # the processes share its memory
    own = slice(rank * len(images) // count, (rank + 1) * len(images) // count)
    part = images[own].clone().requires_grad_()
    SyncBatchNormPlugin(gpu=False).apply(norm)
    output = norm.train()(part)
    output.backward(upstream[own])
    evaluated = norm.eval()(images[own])
    state = {name: value.clone() for name, value in norm.state_dict().items()}
    grads = norm.weight.grad, norm.bias.grad
    return output.detach(), part.grad, *grads, state, evaluated.detach()
