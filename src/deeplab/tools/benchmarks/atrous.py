"""Benchmark of atrous depthwise convolutions in training on a CPU, against PyTorch's own."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab.models.depthwise import atrous_depthwise_conv
from deeplab.tools.benchmarks.timing import Comparison, compare

BATCH = 8
SHAPES = {
    "MobileNetV2's last units, crop 257": (960, 17, 2),
    "separable ASPP, crop 257": (320, 17, 12),
    "Xception's last block, crop 513": (1536, 33, 2),
}
"""Channels, side of the map and atrous rate, at output stride 16."""

Convolution = Callable[[Tensor, Tensor, int], Tensor]


def compare_atrous(*, repeats: int) -> list[Comparison]:
    """Print the time of forward and backward passes and their ratio, in bfloat16 and float32."""
    comparisons = []
    for name, (channels, side, rate) in SHAPES.items():
        for dtype in (torch.bfloat16, torch.float32):
            shape = (BATCH, channels, side, side)
            x, grad = (
                torch.randn(shape, dtype=dtype).to(memory_format=torch.channels_last)
                for _ in range(2)
            )
            weight = torch.randn(channels, 1, 3, 3, dtype=dtype).requires_grad_()
            x.requires_grad_()
            functions: dict[str, Convolution] = {
                "PyTorch": _pytorch,
                "this project": atrous_depthwise_conv,
            }
            comparisons += compare(
                f"atrous depthwise convolution, {name}, rate {rate}, {str(dtype)[6:]}",
                {
                    label: partial(_step, function, x, weight, rate, grad)
                    for label, function in functions.items()
                },
                repeats=repeats,
            )
    return comparisons


def _pytorch(x: Tensor, weight: Tensor, rate: int) -> Tensor:
    return F.conv2d(x, weight, padding=rate, dilation=rate, groups=x.shape[1])


def _step(function: Convolution, x: Tensor, weight: Tensor, rate: int, grad: Tensor) -> None:
    x.grad = weight.grad = None
    function(x, weight, rate).backward(grad)  # type: ignore[no-untyped-call]
