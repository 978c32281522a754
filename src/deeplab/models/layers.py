"""Building blocks that several parts of the network share, and their initialization.

Two conventions of the authors' code hold everywhere (it pads a strided convolution explicitly
and resizes with aligned corners):

* a convolution of kernel k and atrous rate r pads r * (k // 2) on both sides, with and without a
  stride, so a side of n pixels becomes floor((n - 1) / stride) + 1;
* every bilinear resize maps corner to corner (``align_corners=True``) and goes to a given size,
  never by a factor.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab.models.depthwise import atrous_depthwise_conv, gradients_are_slow
from deeplab.utils.settings import WeightInit


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``(N, C, h, w)`` to ``(N, C, *size)``: bilinear, with aligned corners."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return float32, or the dtype itself if it is wider."""
    return torch.promote_types(dtype, torch.float32)


class Conv(nn.Conv2d):
    """A convolution without bias whose stride and dilation can be changed after construction.

    Its state dict depends on neither, so weights trained at one output stride run at another.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, groups=groups, bias=bias)
        self.set_atrous(stride=stride, dilation=dilation)

    def set_atrous(self, *, stride: int, dilation: int) -> None:
        """Set the stride, the dilation and the padding that follows from the dilation."""
        self.stride = (stride, stride)
        self.dilation = (dilation, dilation)
        self.padding = (
            dilation * (self.kernel_size[0] // 2),
            dilation * (self.kernel_size[1] // 2),
        )

    def forward(self, input: Tensor) -> Tensor:
        if self._has_own_gradients and gradients_are_slow(input):
            return atrous_depthwise_conv(input, self.weight, self.dilation[0])
        return super().forward(input)

    @property
    def _has_own_gradients(self) -> bool:
        """True for an atrous depthwise convolution."""
        return (
            self.dilation[0] > 1
            and self.in_channels == self.out_channels == self.groups
            and self.kernel_size == (3, 3)
            and self.stride == (1, 1)
            and self.bias is None
        )


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless ``activation`` is None, an activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv = Conv(in_channels, out_channels, kernel, stride=stride, groups=groups)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        if activation is not None:
            self.activation = activation(inplace=True)

    def set_atrous(self, *, stride: int, dilation: int) -> None:
        """See ``Conv.set_atrous``."""
        self.conv.set_atrous(stride=stride, dilation=dilation)


class SeparableConv(nn.Module):
    """Depthwise 3x3, batch norm, pointwise 1x1, batch norm, with one of two ReLU placements.

    ``activation="after"``: a ReLU after each batch norm (the paper's text; the authors' ASPP,
    decoder and last Xception block). ``activation="before"``: a single ReLU, on the input (all
    other Xception blocks of the authors' code). Without ``depthwise_norm``, the depthwise
    convolution has neither batch norm nor ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        *,
        activation: Literal["before", "after"] = "after",
        depthwise_norm: bool = True,
    ) -> None:
        super().__init__()
        inner = nn.ReLU if activation == "after" else None
        self.relu_first = activation == "before"
        self.depthwise = ConvNorm(
            in_channels,
            in_channels,
            kernel,
            groups=in_channels,
            activation=inner if depthwise_norm else None,
        )
        if not depthwise_norm:
            self.depthwise.norm = nn.Identity()
        self.pointwise = ConvNorm(in_channels, out_channels, activation=inner)

    def set_atrous(self, *, stride: int, dilation: int) -> None:
        """Set the stride and the dilation of the depthwise convolution."""
        self.depthwise.set_atrous(stride=stride, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        if self.relu_first:
            x = F.relu(x)  # not in place: the block's shortcut reads the same tensor
        return self.pointwise(self.depthwise(x))


class Add(nn.Module):
    """Addition of a residual unit; a module so that ``flops`` can count it."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Subsample(nn.Module):
    """Every ``stride``-th pixel: the shortcut of a strided unit without projection."""

    def __init__(self) -> None:
        super().__init__()
        self.stride = 1

    def forward(self, x: Tensor) -> Tensor:
        return x if self.stride == 1 else x[..., :: self.stride, :: self.stride]


class GlobalPool(nn.Module):
    """Mean over the whole map: ``(N, C, H, W)`` to ``(N, C, 1, 1)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)


class PooledBatchNorm(nn.BatchNorm2d):
    """Batch norm for 1x1 maps that also trains with a batch of one image.

    One image gives one value per channel: its variance is 0, and PyTorch raises an error. Such a
    batch is normalized with the running statistics instead and does not update them. (TensorFlow
    would output beta and learn nothing.)
    """

    def forward(self, input: Tensor) -> Tensor:
        one_value = input.shape[0] * input.shape[2] * input.shape[3] == 1
        if self.training and one_value:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


class Normalize(nn.Module):
    """Input normalization ``(pixel - mean) / std`` per color, for RGB from 0 to 255 of any dtype.

    The constants are the backbone's (``[-1, 1]`` or ImageNet's); the network has them in its state
    dict.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.constants = {"mean": tuple(mean), "std": tuple(std)}
        self.mean: Tensor
        self.std: Tensor
        self.make_tensors()

    def make_tensors(self) -> None:
        """Make the tensors of the constants, on PyTorch's default device."""
        for name, values in self.constants.items():
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def set_constants(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Replace the constants, in the same tensors."""
        self.constants = {"mean": tuple(mean), "std": tuple(std)}
        for name, values in self.constants.items():
            self.get_buffer(name).copy_(torch.tensor(values).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        channels = self.mean.shape[1]
        if pixels.ndim != 4 or pixels.shape[1] != channels:
            raise ValueError(
                f"images of shape {tuple(pixels.shape)}: expected (N, {channels}, H, W), with "
                "values from 0 to 255."
            )
        return (pixels.to(self.mean.dtype) - self.mean) / self.std


def is_conv_or_linear(module: nn.Module) -> bool:
    """Return True for a convolution of any kind and for a linear layer."""
    return isinstance(module, nn.modules.conv._ConvNd | nn.Linear)


def is_depthwise(module: nn.Module) -> bool:
    """Return True for a convolution with one filter per channel, which has no weight decay."""
    if not isinstance(module, nn.modules.conv._ConvNd):
        return False
    return 1 < module.groups == module.in_channels


def batch_norms(module: nn.Module) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    """Yield every batch norm inside ``module``, SyncBatchNorm included."""
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            yield m


def set_batch_norm(
    module: nn.Module, *, eps: float | None = None, momentum: float | None = None
) -> None:
    """Set epsilon and PyTorch momentum (1 - decay) of every batch norm inside ``module``.

    None leaves a value unchanged.
    """
    for norm in batch_norms(module):
        if eps is not None:
            norm.eps = eps
        if momentum is not None:
            norm.momentum = momentum


def initialize(module: nn.Module, weight_init: WeightInit) -> None:
    """Initialize every convolution inside ``module``; batch norms keep weight 1 and bias 0.

    * a number: normal with that standard deviation, truncated at two standard deviations;
    * ``variance_scaling``: normal with variance 2 / fan-in (ResNets);
    * ``xavier``: uniform Glorot, TF-slim's default;
    * ``head``: Xavier, but 0.33 for depthwise and 0.06 for pointwise convolutions, as in the
      authors' ASPP and decoder.
    """
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            _initialize_conv(m, weight_init)
    if weight_init == "head":
        for m in module.modules():
            if isinstance(m, SeparableConv):
                _initialize_conv(m.depthwise.conv, 0.33)
                _initialize_conv(m.pointwise.conv, 0.06)


def _initialize_conv(conv: nn.Conv2d, weight_init: WeightInit) -> None:
    if conv.weight.is_meta:
        return  # it has no values, and drawing them makes torch import its compiler (1.2 s)
    if isinstance(weight_init, float | int):
        nn.init.trunc_normal_(conv.weight, std=weight_init, a=-2 * weight_init, b=2 * weight_init)
    elif weight_init == "variance_scaling":
        nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
    else:
        nn.init.xavier_uniform_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
