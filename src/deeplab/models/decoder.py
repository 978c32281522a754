"""The decoder (paper, sections 3.1 and 4.1; Tables 1 and 2).

A decoder is a list of low-level features and a list of convolutions. For each low-level feature, a
stage resizes the encoder's map to the feature's size, concatenates it with the feature after a 1x1
convolution, and refines the result by the convolutions. Without stages it is the naive decoder,
which passes the encoder's map on to the logits.

Interpretation of Table 2's last row (Conv2 and Conv3): each stage has a separate 1x1 convolution
and separate refining convolutions. The paper does not state the former; its caption ("fixing
[1x1, 48]") and the authors' code imply it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from deeplab.models.backbones.base import Feature
from deeplab.models.layers import (
    ConvNorm,
    SeparableConv,
    initialize,
    resize,
    set_batch_norm,
)
from deeplab.utils.constants import BN_MOMENTUM
from deeplab.utils.settings import AboveZero, Bool, Channels, Momentum, Odd, Text, WeightInit


class ConvSpec(NamedTuple):
    """One convolution of the decoder: ``[3x3, 256]`` is ``ConvSpec(3, 256)``."""

    kernel: int
    channels: int


class DecoderStage(nn.Module):
    """One decoder step: resize to the low-level map, concatenate, refine."""

    def __init__(
        self,
        in_channels: int,
        low_level: Feature,
        *,
        low_level_channels: int | None,
        convs: Sequence[ConvSpec],
        separable: bool,
        depthwise_norm: bool,
    ) -> None:
        super().__init__()
        self.project = (
            ConvNorm(low_level.channels, low_level_channels)
            if low_level_channels
            else nn.Identity()
        )
        channels = in_channels + (low_level_channels or low_level.channels)
        self.refine = nn.Sequential()
        for conv in convs:
            if separable and conv.kernel > 1:
                block: nn.Module = SeparableConv(
                    channels, conv.channels, conv.kernel, depthwise_norm=depthwise_norm
                )
            else:
                block = ConvNorm(channels, conv.channels, conv.kernel)
            self.refine.append(block)
            channels = conv.channels
        self.out_channels = channels

    def forward(self, x: Tensor, low_level: Tensor) -> Tensor:
        x = resize(x, (low_level.shape[2], low_level.shape[3]))  # (N, in_channels, H/s, W/s)
        return self.refine(torch.cat([x, self.project(low_level)], dim=1))


class Decoder(nn.Module):
    """Decoder that refines the encoder's map with low-level features of the backbone.

    Args:
        in_channels: channels of the encoder's map.
        features: the backbone's low-level features by name.
        low_level: names of the features to use, in any order; the coarsest is used first. The
            paper's choice is ``conv2``; empty for the naive decoder.
        low_level_channels: output channels of the 1x1 convolution on each feature (Table 1); null:
            no such convolution, so that all channels of the feature are concatenated.
        convs: kernel and channels of each convolution after a concatenation (Table 2).
        separable: use depthwise separable convolutions ("SC" of Table 5); 1x1 convolutions are
            not affected.
        depthwise_norm: batch norm and ReLU also after the depthwise part of separable convolutions,
            as in the authors' code; other libraries have none there.
        weight_init: ``head``, the authors': Xavier, for separable convolutions 0.33 (depthwise) and
            0.06 (pointwise); or another value of ``deeplab.models.layers.initialize``.
        bn_eps: epsilon of the batch norms.
        bn_momentum: PyTorch's momentum of the batch norms: 1 minus the authors' decay 0.9997.

    Raises:
        ValueError: the backbone has no such feature, a feature is listed twice, or there are
            convolutions without a low-level feature.
    """

    def __init__(
        self,
        in_channels: int,
        features: Mapping[str, Feature],
        *,
        low_level: Annotated[tuple[Text, ...], Field(max_length=8)] = ("conv2",),
        low_level_channels: Channels | None = 48,
        convs: Annotated[tuple[tuple[Odd, Channels], ...], Field(max_length=32)] = (
            (3, 256),
            (3, 256),
        ),
        separable: Bool = False,
        depthwise_norm: Bool = True,
        weight_init: WeightInit = "head",
        bn_eps: AboveZero = 1e-5,
        bn_momentum: Momentum = BN_MOMENTUM,
    ) -> None:
        super().__init__()
        check_stages(low_level, convs, features)
        self.low_level = sorted(low_level, key=lambda name: -features[name].stride)
        self.stride = features[self.low_level[-1]].stride if low_level else None
        """Stride of the result; None without stages (then it is the encoder's output stride)."""
        self.stages = nn.ModuleList()
        channels = in_channels
        for name in self.low_level:
            stage = DecoderStage(
                channels,
                features[name],
                low_level_channels=low_level_channels,
                convs=[ConvSpec(*conv) for conv in convs],
                separable=separable,
                depthwise_norm=depthwise_norm,
            )
            self.stages.append(stage)
            channels = stage.out_channels
        self.out_channels = channels
        initialize(self, weight_init)
        set_batch_norm(self, eps=bn_eps, momentum=bn_momentum)

    def forward(self, x: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Refine the encoder's map with the backbone's features.

        Args:
            x: the encoder's map ``(N, in_channels, h, w)``.
            features: the backbone's features by name.

        Returns:
            ``(N, out_channels, H/s, W/s)``, where s is the stride of the finest stage.
        """
        for name, stage in zip(self.low_level, self.stages, strict=True):
            x = stage(x, features[name])
        return x


def check_stages(
    low_level: Sequence[str], convs: Sequence[tuple[int, int]], available: Mapping[str, Feature]
) -> None:
    """Raise ValueError if the decoder's lists do not fit the backbone's low-level features."""
    for name in low_level:
        if not available:
            raise ValueError(
                f"low_level={name}: the backbone has no low-level features. Use decoder=naive"
            )
        if name not in available:
            raise ValueError(
                f"low_level={name}: the backbone has no such feature. "
                f"Choose from {', '.join(available)}"
            )
        if list(low_level).count(name) > 1:
            raise ValueError(f"low_level={name}: listed more than once. List each feature once")
    if convs and not low_level:
        raise ValueError(
            f"{len(convs)} convolutions without a low-level stage. Name a stage in low_level, or "
            "leave both lists empty for the naive decoder"
        )
