"""Batch norms with statistics over all devices, on GPUs and on CPUs.

Departure: the authors' code does not synchronize statistics. With 16 images on several devices each
device would have too few images.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch.plugins import TorchSyncBatchNorm
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deeplab.models.layers import batch_norms
from deeplab.training.collectives import gather_from_devices, sum_over_devices


class SyncBatchNormPlugin(TorchSyncBatchNorm):
    """Synchronizes the batch norms of a network for training on several devices.

    Args:
        gpu: use PyTorch's SyncBatchNorm, which exists for GPUs only.
    """

    def __init__(self, *, gpu: bool) -> None:
        self.gpu = gpu

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the batch norms, or on a CPU what they compute; timm's keep their activation."""
        if not self.gpu:
            for norm in batch_norms(model):
                norm.forward = partial(_forward, norm, norm.forward)  # type: ignore[method-assign]
            return model
        if "timm" not in sys.modules:
            return super().apply(model)
        from timm.layers import convert_sync_batchnorm

        replaced: nn.Module = convert_sync_batchnorm(model)
        return replaced

    def revert(self, model: nn.Module) -> nn.Module:
        """Keep the replaced batch norms.

        In evaluation they act like any other, and Lightning's conversion back would lose the
        activations.
        """
        return model


def _forward(norm: Any, evaluate: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the output of a batch norm for ``(N, C, H, W)`` and update its running statistics."""
    if not norm.training:
        return evaluate(x)
    y, mean, variance, count = _BatchNorm.apply(  # type: ignore[no-untyped-call]
        x, norm.weight, norm.bias, norm.eps
    )
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    # timm's batch norms include dropout and an activation.
    return norm.act(norm.drop(y)) if hasattr(norm, "act") else y


class _BatchNorm(torch.autograd.Function):
    """Batch norm over ``(N, C, H, W)`` of all devices, which have the same number of values."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = torch.var_mean(values, dim=(0, 2, 3), correction=0)
        parts, _ = gather_from_devices(torch.stack([mean, variance])[None])  # (devices, 2, C)
        mean = parts[:, 0].mean(0)
        variance = (parts[:, 1] + (parts[:, 0] - mean) ** 2).mean(0)
        scale = (variance + eps).rsqrt()
        normalized = (values - _column(mean)) * _column(scale)
        ctx.save_for_backward(normalized, weight, scale)
        ctx.count = len(parts) * values.numel() // len(mean)
        ctx.mark_non_differentiable(mean, variance)
        y = normalized * _column(weight) + _column(bias)
        return y.to(x.dtype), mean, variance, ctx.count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        normalized, weight, scale = ctx.saved_tensors
        grad = grad_outputs[0].to(normalized.dtype)
        sums = torch.stack([grad.sum((0, 2, 3)), (grad * normalized).sum((0, 2, 3))])
        means = sum_over_devices(sums) / ctx.count
        centered = grad - _column(means[0]) - normalized * _column(means[1])
        grad_x = centered * _column(weight * scale)
        return grad_x.to(grad_outputs[0].dtype), sums[1], sums[0], None


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]
