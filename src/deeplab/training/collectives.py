"""Sums, gathering and averages over the devices of a run; on one device they cost nothing.

All devices have the same number of images and pixels in a training batch.
"""

from typing import Any

import torch
from torch import Tensor, distributed


def num_devices() -> int:
    """Return the number of processes that train together."""
    active = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if active else 1


def sum_over_devices(values: Tensor) -> Tensor:
    """Return the sum of a tensor over the devices, without gradients."""
    if num_devices() > 1:
        values = values.detach().clone()
        distributed.all_reduce(values)
    return values


def gather_from_devices(values: Tensor) -> tuple[Tensor, slice]:
    """Concatenate a tensor ``(N, ...)`` of every device to ``(devices * N, ...)``.

    Returns:
        The tensor, in the order of the whole batch, and the part of this device.
    """
    if num_devices() == 1:
        return values, slice(None)
    parts = [torch.empty_like(values) for _ in range(num_devices())]
    distributed.all_gather(parts, values.contiguous())
    first = distributed.get_rank() * len(values)
    return torch.cat(parts), slice(first, first + len(values))


def mean_over_devices(loss: Tensor) -> Tensor:
    """Return the mean of a scalar over the devices, with the gradient of this device's scalar.

    DistributedDataParallel averages the gradients over the devices.
    """
    if num_devices() == 1:
        return loss
    mean: Tensor = _MeanOverDevices.apply(loss)  # type: ignore[no-untyped-call]
    return mean


class _MeanOverDevices(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        return sum_over_devices(loss) / num_devices()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]
