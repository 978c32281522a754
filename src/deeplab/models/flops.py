"""Parameters and multiply-adds of a network, counted without computing or allocating it.

Two rules:

* ``conv``: the multiply-adds of all convolutions at their true output sizes, and where a network
  has others of all matrix products (linear layers, attention): what every counting tool reports;
* ``paper``: the paper's. Half of what TensorFlow's profiler counts in the evaluation graph, where
  an atrous convolution runs on a map that space-to-batch has padded, and where small operations
  and the graph's own regularizer and initializer operations count too. No source states this rule;
  it was inferred from the published numbers and gives 36 of the 38 of Tables 3 and 5 to 0.02 %.
  (The other two rows print 101.28, where this rule and the paper's own multi-scale rows of the
  same network say 102.78.) A matrix product, of which the paper has none, counts as it does for
  ``conv``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    is_depthwise,
    is_product,
)


@dataclass
class _Counts:
    """Sums over the passes: multiply-adds of convolutions that are modules, and profiler
    operations."""

    conv: int = 0
    operations: int = 0


@dataclass(frozen=True)
class Cost:
    """What a network costs under an inference strategy."""

    trainable: int
    """Weights, batch norm weights and biases, and the bias of the logits."""
    with_bn_statistics: int
    """The same and the running means and variances."""
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
    """Count one image under a strategy, at the model's output stride.

    Args:
        model: the network; on the meta device nothing is computed.
        input_size: height and width in pixels.
        scales: the input is run once at each; a side n becomes int((n - 1) * scale + 1).
        flip: every pass once more, mirrored.
    """
    counts, products = _Counts(), FlopCounterMode(display=False)
    device = next(model.parameters()).device
    was_training = model.training
    with _Hooks(model, counts), products, torch.no_grad():
        model.eval()
        for scale in scales:
            height, width = (int((side - 1) * scale + 1) for side in input_size)
            model(torch.empty(1, 3, height, width, dtype=torch.uint8, device=device))
    model.train(was_training)
    passes, flops = 2 if flip else 1, products.get_total_flops()
    counts.operations += flops - 2 * counts.conv  # what is no convolution's
    operations = passes * counts.operations + _once_per_graph(model, input_size)
    trainable = sum(p.numel() for p in model.parameters())
    statistics = sum(2 * norm.num_features for norm in batch_norms(model))
    return Cost(
        trainable=trainable,
        with_bn_statistics=trainable + statistics,
        conv=passes * flops // 2,
        paper=operations // 2,
    )


def _once_per_graph(model: DeepLabV3Plus | Classifier, input_size: tuple[int, int]) -> int:
    """Operations of the arg-max, which a classifier has once and not for each pixel, and of
    regularizer and initializer: 3 for each weight under weight decay and 2 for each weight of a
    convolution."""
    outputs = 1 if isinstance(model, Classifier) else input_size[0] * input_size[1]
    operations = model.num_classes * outputs
    for module in model.modules():
        if is_product(module):
            assert isinstance(module.weight, Tensor)
            operations += (2 if is_depthwise(module) else 5) * module.weight.numel()
    return operations


@dataclass
class _Hooks:
    """Counts while it is entered."""

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
    """Two operations a multiply-add, and one a logit for its bias."""
    each = conv.weight[0].numel() * conv.out_channels  # multiply-adds of one output pixel
    counts.conv += each * output.shape[2] * output.shape[3]
    height, width = (
        space_to_batch_side(output.shape[2 + i], conv.kernel_size[i], conv.dilation[i])
        for i in range(2)
    )
    counts.operations += 2 * each * height * width
    if conv.bias is not None:
        counts.operations += output.numel()


def space_to_batch_side(side: int, kernel: int, rate: int) -> int:
    """The side that an atrous convolution is charged for: space-to-batch pads the map until it
    divides by the rate."""
    if rate == 1 or kernel == 1:
        return side
    padded = -(-(side + (kernel - 1) * rate) // rate)
    return (padded - (kernel - 1)) * rate


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
"""What counts; batch norm, ReLU, resizes, concatenations and softmax do not."""
