"""Parameters and multiply-adds of a network, counted without computing or allocating it.

Two counting rules:

* ``conv``: the multiply-adds of all convolutions at their true output sizes and of all other
  matrix products (linear layers, attention), as counting tools usually report them;
* ``paper``: the paper's rule. Half of what TensorFlow's profiler counts in the evaluation graph,
  where an atrous convolution runs on a map that space-to-batch has padded, and where small
  operations and the graph's own regularizer and initializer operations count too. No source states
  this rule; it was inferred from the published numbers and reproduces 36 of the 38 numbers of
  Tables 3 and 5 to 0.02 %. (The other two rows print 101.28, where this rule and the paper's own
  multi-scale rows of the same network give 102.78.) Matrix products, which the paper's networks do
  not have, count as in ``conv``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deeplab.models.classifier import Classifier
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.layers import (
    Add,
    GlobalPool,
    Normalize,
    Subsample,
    batch_norms,
    is_conv_or_linear,
    is_depthwise,
)
from deeplab.models.sizes import scaled_size


@dataclass
class _Counts:
    """Running sums over a forward pass."""

    conv: int = 0
    """Multiply-adds of convolution modules."""
    operations: int = 0
    """Operations as TensorFlow's profiler counts them."""


class PassCost(NamedTuple):
    """Cost of one forward pass."""

    conv: int
    """Multiply-adds of convolutions and matrix products."""
    operations: int
    """Operations as TensorFlow's profiler counts them."""


@dataclass(frozen=True)
class Cost:
    """Parameters and multiply-adds of a network under an inference strategy."""

    trainable: int
    """Number of weights, batch norm weights and biases, and biases of the logits."""
    with_bn_statistics: int
    """``trainable`` plus the number of running means and variances."""
    conv: int
    """Multiply-adds of convolutions and matrix products."""
    paper: int
    """Multiply-adds by the paper's rule."""


def measure_cost(
    model: DeepLabV3Plus | Classifier,
    *,
    input_size: tuple[int, int] = (513, 513),
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Cost:
    """Return the cost of one image under a strategy, at the model's output stride.

    Args:
        model: the network; on the meta device nothing is computed.
        input_size: height and width in pixels.
        scales: one forward pass runs at each scale; a side n becomes int((n - 1) * scale + 1).
        flip: also runs every pass on the mirrored image.
    """
    passes = [count_pass(model, size) for size in pass_sizes(input_size, scales)]
    return sum_cost(model, passes * (1 + flip), input_size=input_size)


def pass_sizes(input_size: tuple[int, int], scales: Sequence[float]) -> list[tuple[int, int]]:
    """Return height and width of the image at each scale."""
    height, width = input_size
    return [(scaled_size(height, scale), scaled_size(width, scale)) for scale in scales]


def count_pass(model: DeepLabV3Plus | Classifier, size: tuple[int, int]) -> PassCost:
    """Return the cost of a forward pass of one image of a size."""
    counts, flop_counter = _Counts(), FlopCounterMode(display=False)
    device = next(model.parameters()).device
    with _eval_mode(model), _Hooks(model, counts), flop_counter, torch.no_grad():
        images = (1, model.backbone.in_channels, *size)
        model(torch.empty(images, dtype=torch.uint8, device=device))
    flops = flop_counter.get_total_flops()
    matrix_products = flops - 2 * counts.conv  # those that are not convolutions
    return PassCost(flops // 2, counts.operations + matrix_products)


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Set the evaluation mode, and afterwards each module's own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def sum_cost(
    model: DeepLabV3Plus | Classifier,
    passes: Sequence[PassCost],
    *,
    input_size: tuple[int, int],
) -> Cost:
    """Return the cost of one image by all its forward passes; see ``measure_cost``."""
    operations = sum(p.operations for p in passes)
    trainable = sum(p.numel() for p in model.parameters())
    statistics = sum(2 * norm.num_features for norm in batch_norms(model))
    return Cost(
        trainable=trainable,
        with_bn_statistics=trainable + statistics,
        conv=sum(p.conv for p in passes),
        paper=(operations + _operations_per_graph(model, input_size)) // 2,
    )


def _operations_per_graph(model: DeepLabV3Plus | Classifier, input_size: tuple[int, int]) -> int:
    """Return the operations that TensorFlow's graph contains once, however many passes it runs.

    These are the arg-max (per pixel, for a classifier per image), the regularizer (3 for each
    weight under weight decay) and the initializer (2 for each weight of a convolution).
    """
    outputs = 1 if isinstance(model, Classifier) else input_size[0] * input_size[1]
    operations = model.num_classes * outputs
    for module in model.modules():
        if is_conv_or_linear(module):
            assert isinstance(module.weight, Tensor)
            operations += (2 if is_depthwise(module) else 5) * module.weight.numel()
    return operations


@dataclass
class _Hooks:
    """Context manager that adds the operations of a forward pass to ``counts``."""

    model: nn.Module
    counts: _Counts
    handles: list[Any] = field(default_factory=list)

    def __enter__(self) -> None:
        for module in self.model.modules():
            for kind, rule in RULES.items():
                if isinstance(module, kind):
                    hook = self._hook(rule)
                    self.handles.append(module.register_forward_hook(hook))

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _hook(self, rule: "Rule") -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            rule(self.counts, module, inputs[0], output)

        return hook


Rule = Callable[[_Counts, Any, Tensor, Tensor], None]


def _count_conv(counts: _Counts, conv: nn.Conv2d, x: Tensor, output: Tensor) -> None:
    """Count two operations per multiply-add, and one per logit for its bias."""
    per_pixel = conv.weight[0].numel() * conv.out_channels  # multiply-adds of one output pixel
    counts.conv += per_pixel * output.shape[2] * output.shape[3]
    height, width = (
        space_to_batch_size(output.shape[2 + i], conv.kernel_size[i], conv.dilation[i])
        for i in range(2)
    )
    counts.operations += 2 * per_pixel * height * width
    if conv.bias is not None:
        counts.operations += output.numel()


def space_to_batch_size(size: int, kernel: int, dilation: int) -> int:
    """Return the size (height or width) at which an atrous convolution is counted.

    Space-to-batch pads the map to a multiple of the dilation.
    """
    if dilation == 1 or kernel == 1:
        return size
    padded = -(-(size + (kernel - 1) * dilation) // dilation)
    return (padded - (kernel - 1)) * dilation


def _count_output(counts: _Counts, module: nn.Module, x: Tensor, output: Tensor) -> None:
    counts.operations += output.numel()


def _count_subsample(counts: _Counts, module: Subsample, x: Tensor, output: Tensor) -> None:
    counts.operations += output.numel() if module.stride > 1 else 0


def _count_max_pool(counts: _Counts, module: nn.MaxPool2d, x: Tensor, output: Tensor) -> None:
    counts.operations += 9 * output.numel()


def _count_global_pool(counts: _Counts, module: GlobalPool, x: Tensor, output: Tensor) -> None:
    counts.operations += x.numel()


def _count_normalize(counts: _Counts, module: Normalize, x: Tensor, output: Tensor) -> None:
    counts.operations += 2 * output.numel()


RULES: dict[type[nn.Module], Rule] = {
    nn.Conv2d: _count_conv,
    Add: _count_output,
    Subsample: _count_subsample,
    nn.MaxPool2d: _count_max_pool,
    GlobalPool: _count_global_pool,
    Normalize: _count_normalize,
}
"""Counting rule of each module type.

Batch norm, ReLU, resizes, concatenations and softmax count nothing.
"""
