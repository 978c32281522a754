"""Any network of timm (PyTorch Image Models): ``backbone=timm backbone.model=convnext_tiny``.

None of these is in the paper. They follow timm, and not the paper's networks, in these points:

1. the low-level features are the last feature maps at strides 4, 8 and 16: complete block outputs;
2. padding of convolutions, and the effect of an output stride of 8 or 16: timm dilates from the
   first block of a stage on, as ports of DeepLabv3 do, without multi-grid;
3. timm initializes the weights, and epsilon and momentum of batch norms are timm's unless you set
   them.

Some networks need image sides that are multiples of a number (windows of transformers, stems that
drop remaining pixels). For these the image is padded at the right and at the bottom with 0, the
mean pixel, and the features are cropped: every side n becomes floor((n - 1) / stride) + 1, as in
all backbones.
"""

from typing import Any, cast

from torch import Tensor
from torch.nn import functional as F

from deeplab.models.backbones.base import Backbone, check_output_stride
from deeplab.models.backbones.timm_models import (
    build,
    intermediate_features,
    pretrained_normalization,
)
from deeplab.models.backbones.timm_output_stride import encoder_info, module_changes
from deeplab.models.layers import batch_norms, set_batch_norm
from deeplab.models.sizes import map_size
from deeplab.utils.settings import AboveZero, BelowOne, InChannels, Mean, Momentum, Std, Text


class TimmEncoder(Backbone):
    """A network of timm as a backbone.

    The low-level features are ``conv2``, ``conv3`` and ``conv4``, if the network has feature maps
    of strides 4, 8 and 16.

    Args:
        model: timm's name of the network (see ``timm.list_models()``), optionally with a dot and
            the tag of pretrained weights, as ``convnext_tiny.fb_in22k``.
        in_channels: channels of the images; 3 for RGB.
        mean, std: normalization of the input, from 0 to 255; None: that of the pretrained weights.
            Three values are RGB's, which another number of channels repeats, and a single one
            averages.
        bn_eps: epsilon of the batch norms; None: timm's.
        bn_momentum: momentum of the batch norms; None: timm's.
        drop_path_rate: probability of dropping the last residual branch in training (stochastic
            depth); None: the network's.

    Raises:
        UserError: timm is not installed, or has no such network.
        ValueError: the network cannot be used as a backbone; the message says why.
    """

    def __init__(
        self,
        model: Text,
        *,
        in_channels: InChannels = 3,
        mean: Mean | None = None,
        std: Std | None = None,
        bn_eps: AboveZero | None = None,
        bn_momentum: Momentum | None = None,
        drop_path_rate: BelowOne | None = None,
    ) -> None:
        super().__init__()
        info, normalization = encoder_info(model), pretrained_normalization(model)
        self.model = model
        self.set_input(in_channels, mean or normalization.mean, std or normalization.std)
        self.low_level = {name: f for name, f in info.features.items() if name != "output"}
        self.out_channels = info.features["output"].channels
        self.output_stride = info.stride
        self._indices, self._size_divisor = tuple(info.indices.values()), info.size_divisor
        options: dict[str, float] = {} if in_channels == 3 else {"in_chans": in_channels}
        options |= {} if drop_path_rate is None else {"drop_path_rate": drop_path_rate}
        self.timm = build(model, **options)
        set_batch_norm(self, eps=bn_eps, momentum=bn_momentum)

    def set_output_stride(self, output_stride: int) -> None:
        """See ``Backbone``.

        Some modules get other strides, dilations and paddings, and some another class. Parameters
        and buffers remain the same objects.
        """
        check_output_stride(output_stride)
        for path, module_class, attributes in module_changes(
            self.model, self.output_stride, output_stride
        ):
            module = self.timm.get_submodule(path)
            module.__class__ = module_class
            vars(module).update(attributes)
        self.output_stride = output_stride

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """See ``Backbone``."""
        if enabled and any(True for _ in batch_norms(self)):
            raise ValueError(
                f"timm's {self.model} has batch norms, whose running statistics would count each "
                "batch twice"
            )
        if enabled and not hasattr(self.timm, "set_grad_checkpointing"):
            raise ValueError(f"timm's {self.model} does not offer it")
        if enabled or self.gradient_checkpointing:
            cast(Any, self.timm).set_grad_checkpointing(enabled)
        self.gradient_checkpointing = enabled

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See ``Backbone``."""
        height, width = x.shape[2:]
        padding = (0, -width % self._size_divisor, 0, -height % self._size_divisor)
        padded = F.pad(x, padding) if any(padding) else x
        maps = intermediate_features(self.timm, self._indices, padded)
        return {
            name: feature[:, :, : map_size(height, stride), : map_size(width, stride)]
            for (name, (_, stride)), feature in zip(self.features.items(), maps, strict=True)
        }
