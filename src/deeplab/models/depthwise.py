"""Atrous depthwise convolution for training on a CPU.

PyTorch (oneDNN) has no fast kernels there for the gradients of a dilated depthwise convolution. In
bfloat16 with channels last, the gradient of the weights is wrong as well, for maps of 31 pixels and
more (PyTorch 2.13 and 2.14 on a CPU with AVX-512 BF16). Both are avoided here by three identities:

* the pixels of equal row and column modulo the rate form ``rate ** 2`` small images, in which the
  convolution is not dilated (the authors' TensorFlow computes it so);
* the gradient of the input is the same convolution with the mirrored kernel;
* the gradient of a weight is the sum of the products of two shifted maps.

The output is PyTorch's, up to rounding.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

FEW_PIXELS = 3
"""Side of the small images below which many of them are slower than shifted maps."""


def gradients_are_slow(x: Tensor) -> bool:
    """Return True in training on a CPU with PyTorch's slow or wrong kernels for this map.

    Those for contiguous float32 are as fast as what is done here instead.
    """
    if not torch.is_grad_enabled() or x.device.type != "cpu":
        return False
    return torch.is_autocast_enabled("cpu") or (
        x.dtype == torch.bfloat16 or x.is_contiguous(memory_format=torch.channels_last)
    )


def atrous_depthwise_conv(x: Tensor, weight: Tensor, rate: int) -> Tensor:
    """Return the depthwise 3x3 convolution of a map with this atrous rate, in training.

    Args:
        x: ``(N, C, H, W)``.
        weight: ``(C, 1, 3, 3)``.
        rate: atrous rate, and padding on each side.

    Returns:
        ``(N, C, H, W)``, in the dtype of autocast if it is enabled.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
    y: Tensor = _AtrousDepthwise.apply(x, weight, rate)  # type: ignore[no-untyped-call]
    return y


class _AtrousDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rate: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rate = rate
        return _convolve(x, weight, rate)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        (grad,) = grad_outputs
        need_x, need_weight, _ = ctx.needs_input_grad
        return (
            _convolve(grad, weight.flip(2, 3), ctx.rate) if need_x else None,
            _weight_gradient(x, grad, weight, ctx.rate) if need_weight else None,
            None,
        )


def _has_few_pixels(x: Tensor, rate: int) -> bool:
    """Return True if the small images of a map have few pixels."""
    return min(x.shape[2:]) <= rate * (FEW_PIXELS - 1)


def _convolve(x: Tensor, weight: Tensor, rate: int) -> Tensor:
    channels = x.shape[1]
    if not _has_few_pixels(x, rate):  # PyTorch's forward kernel is fast then
        return F.conv2d(x, weight, padding=rate, dilation=rate, groups=channels)
    small = F.conv2d(_split(x, rate), weight, padding=1, groups=channels)
    return _join(small, rate, (x.shape[2], x.shape[3]))


def _weight_gradient(x: Tensor, grad: Tensor, weight: Tensor, rate: int) -> Tensor:
    if _has_few_pixels(x, rate):
        return _shifted_products(x, grad, rate).to(weight.dtype)
    _, gradient, _ = torch.ops.aten.convolution_backward(
        _split(grad, rate),
        _split(x, rate),
        weight,
        None,
        [1, 1],
        [1, 1],
        [1, 1],
        False,
        [0, 0],
        x.shape[1],
        [False, True, False],
    )
    return gradient


def _split(x: Tensor, rate: int) -> Tensor:
    """Return the small images ``(rate ** 2 * N, C, h, w)`` of a map, padded to equal size."""
    number, channels, height, width = x.shape
    x = F.pad(x, (0, -width % rate, 0, -height % rate)).permute(0, 2, 3, 1)
    h, w = x.shape[1] // rate, x.shape[2] // rate
    x = x.reshape(number, h, rate, w, rate, channels).permute(2, 4, 0, 1, 3, 5)
    return x.reshape(rate**2 * number, h, w, channels).permute(0, 3, 1, 2)


def _join(small: Tensor, rate: int, size: tuple[int, int]) -> Tensor:
    """Return the map of a size that ``_split`` has split."""
    _, channels, h, w = small.shape
    x = small.permute(0, 2, 3, 1).reshape(rate, rate, -1, h, w, channels)
    x = x.permute(2, 3, 0, 4, 1, 5).reshape(-1, h * rate, w * rate, channels)
    return x[:, : size[0], : size[1]].permute(0, 3, 1, 2)


def _shifted_products(x: Tensor, grad: Tensor, rate: int) -> Tensor:
    """Return the gradient of the weights as the sums of products with shifted maps, in float32."""
    height, width = x.shape[2:]
    dtype = torch.promote_types(x.dtype, torch.float32)
    gradient = x.new_zeros(x.shape[1], 1, 3, 3, dtype=dtype)
    for i, (rows, grad_rows) in enumerate(_overlaps(height, rate)):
        for j, (columns, grad_columns) in enumerate(_overlaps(width, rate)):
            product = x[:, :, rows, columns] * grad[:, :, grad_rows, grad_columns]
            gradient[:, 0, i, j] = product.sum((0, 2, 3), dtype=dtype)
    return gradient


def _overlaps(size: int, rate: int) -> list[tuple[slice, slice]]:
    """Return for each of three taps the pixels of the input and those of the output."""
    shifts = (-rate, 0, rate)
    return [
        (slice(max(0, s), max(0, size + min(0, s))), slice(max(0, -s), max(0, size - max(0, s))))
        for s in shifts
    ]
