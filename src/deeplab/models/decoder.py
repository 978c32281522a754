"""The decoder (paper, sections 3.1 and 4.1; Tables 1 and 2).

A list of low-level stages and a list of convolutions: the encoder's map is resized to a stage's
size, concatenated with that stage's map behind a 1x1 convolution, refined by the convolutions, and
the same again for the next stage. Without stages it is the naive decoder: nothing but the logits.

How Table 2's last row (Conv2 and Conv3) is read: each stage has a 1x1 convolution of its own and
the convolutions of its own. The paper does not say the first; its caption ("fixing [1x1, 48]") and
the authors' code imply it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeplab.models.backbones.base import Feature
from deeplab.models.layers import (
    ConvNorm,
    SeparableConv,
    WeightInit,
    initialize,
    resize,
    set_batch_norm,
)


class ConvSpec(NamedTuple):
    """One convolution of the decoder: ``[3x3, 256]`` is ``ConvSpec(3, 256)``."""

    kernel: int
    channels: int


class DecoderStage(nn.Module):
    """Resize to the low-level map, concatenate, refine."""

    def __init__(
        self,
        in_channels: int,
        low_level: Feature,
        *,
        low_level_channels: int,
        convs: Sequence[ConvSpec],
        separable: bool,
    ) -> None:
        super().__init__()
        self.project = ConvNorm(low_level.channels, low_level_channels)
        channels = in_channels + low_level_channels
        self.refine = nn.Sequential()
        for conv in convs:
            block = SeparableConv if separable and conv.kernel > 1 else ConvNorm
            self.refine.append(block(channels, conv.channels, conv.kernel))
            channels = conv.channels
        self.out_channels = channels

    def forward(self, x: Tensor, low_level: Tensor) -> Tensor:
        x = resize(x, (low_level.shape[2], low_level.shape[3]))  # (N, in_channels, H/s, W/s)
        return self.refine(torch.cat([x, self.project(low_level)], dim=1))


class Decoder(nn.Module):
    """Refines the encoder's map with low-level maps of the backbone.

    Args:
        in_channels: channels of the encoder's map.
        features: the backbone's low-level features by name.
        low_level: which of them to use, in any order; coarse ones come first. The paper's choice
            is ``conv2``; none is the naive decoder.
        low_level_channels: of the 1x1 convolution on each (Table 1).
        convs: kernel and channels of each convolution behind a concatenation (Table 2).
        separable: depthwise separable convolutions ("SC" of Table 5); 1x1 stay as they are.
        weight_init, bn_eps, bn_momentum: see ``deeplab.models.layers``.

    Raises:
        ValueError: a stage that the backbone lacks or that is named twice, or convolutions
            without a stage to work in.
    """

    def __init__(
        self,
        in_channels: int,
        features: Mapping[str, Feature],
        *,
        low_level: Sequence[str] = ("conv2",),
        low_level_channels: int = 48,
        convs: Sequence[tuple[int, int]] = ((3, 256), (3, 256)),
        separable: bool = False,
        weight_init: WeightInit = "head",
        bn_eps: float = 1e-5,
        bn_momentum: float = 3e-4,
    ) -> None:
        super().__init__()
        check_stages(low_level, convs, features)
        self.low_level = sorted(low_level, key=lambda name: -features[name].stride)
        self.stride = features[self.low_level[-1]].stride if low_level else None
        """Of the result; that of the encoder's map where there is no stage."""
        self.stages = nn.ModuleList()
        channels = in_channels
        for name in self.low_level:
            stage = DecoderStage(
                channels,
                features[name],
                low_level_channels=low_level_channels,
                convs=[ConvSpec(*conv) for conv in convs],
                separable=separable,
            )
            self.stages.append(stage)
            channels = stage.out_channels
        self.out_channels = channels
        initialize(self, weight_init)
        set_batch_norm(self, eps=bn_eps, momentum=bn_momentum)

    def forward(self, x: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """The encoder's map ``(N, in_channels, h, w)`` and the backbone's features to
        ``(N, out_channels, H/s, W/s)``, s being the finest stage's stride."""
        for name, stage in zip(self.low_level, self.stages, strict=True):
            x = stage(x, features[name])
        return x


def check_stages(
    low_level: Sequence[str], convs: Sequence[tuple[int, int]], available: Mapping[str, Feature]
) -> None:
    """Raise ValueError where the decoder's lists cannot work with the backbone's features."""
    for name in low_level:
        if name not in available:
            have = ", ".join(available) or "none, and goes with decoder=naive only"
            raise ValueError(f"low-level stage {name!r}: the backbone has {have}")
        if list(low_level).count(name) > 1:
            raise ValueError(f"low-level stage {name!r} is named more than once")
    if convs and not low_level:
        raise ValueError(
            f"{len(convs)} convolutions without a low-level stage to work in: name a stage, or "
            "leave both lists empty for the naive decoder"
        )
