"""Any network of timm (PyTorch Image Models): ``backbone=timm backbone.model=convnext_tiny``.

None of these is in the paper. What is as timm has it and not as in the paper's networks:

1. the low-level features are the last maps at strides 4, 8 and 16, whole block outputs;
2. how convolutions pad, and what an output stride of 8 or 16 does: timm dilates from the first
   block of a stage on, as DeepLabv3's ports do, without multi-grid;
3. weights start as timm starts them, and epsilon and momentum of batch norms are timm's, unless
   others are named.

A network that wants sides of an image to be multiples of something (windows of a transformer, stems
that cut off what is left) gets it padded at the right and at the bottom with 0, the mean pixel, and
its features are cut: every side n becomes floor((n - 1) / stride) + 1, as everywhere here.
"""

from torch import Tensor
from torch.nn import functional as F

from deeplab.models.backbones.base import Backbone, check_output_stride
from deeplab.models.backbones.timm_models import build, intermediates, own_normalization
from deeplab.models.backbones.timm_output_stride import changes, examine
from deeplab.models.layers import set_batch_norm


class TimmEncoder(Backbone):
    """A network of timm as a backbone; ``conv2``, ``conv3`` and ``conv4`` to tap, where it has maps
    of strides 4, 8 and 16.

    Args:
        model: its name, ``timm.list_models()`` has them all; what follows a dot names published
            weights.
        mean, std: the input normalization; by default that of the published weights.
        bn_eps, bn_momentum: of all batch norms; by default timm's.
        drop_path_rate: probability of leaving out a residual branch in training, of the last one;
            by default the network's own.

    Raises:
        UserError: timm is not installed, or has no such network.
        ValueError: the network is of no use here; says why.
    """

    def __init__(
        self,
        model: str,
        *,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        bn_eps: float | None = None,
        bn_momentum: float | None = None,
        drop_path_rate: float | None = None,
    ) -> None:
        super().__init__()
        own, normalization = examine(model), own_normalization(model)
        self.model = model
        self.mean, self.std = mean or normalization.mean, std or normalization.std
        self.low_level = {name: f for name, f in own.features.items() if name != "output"}
        self.out_channels = own.features["output"].channels
        self.output_stride = own.stride
        self._places, self._multiple = tuple(own.taps.values()), own.multiple
        options = {} if drop_path_rate is None else {"drop_path_rate": drop_path_rate}
        self.timm = build(model, **options)
        set_batch_norm(self, eps=bn_eps, momentum=bn_momentum)

    def set_output_stride(self, output_stride: int) -> None:
        """See ``Backbone``; a few modules get other strides, rates and paddings, and some another
        class. Parameters and buffers stay the objects that they are."""
        check_output_stride(output_stride)
        for path, kind, values in changes(self.model, self.output_stride, output_stride):
            module = self.timm.get_submodule(path)
            module.__class__ = kind
            vars(module).update(values)
        self.output_stride = output_stride

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See ``Backbone``."""
        height, width = x.shape[2:]
        missing = (0, -width % self._multiple, 0, -height % self._multiple)
        maps = intermediates(self.timm, self._places, F.pad(x, missing) if any(missing) else x)
        return {
            name: given[:, :, : 1 + (height - 1) // stride, : 1 + (width - 1) // stride]
            for (name, (_, stride)), given in zip(self.features.items(), maps, strict=True)
        }
