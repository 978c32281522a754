"""The complete network of the paper's Figure 2: backbone, ASPP, decoder, logits."""

from typing import Any

from torch import Tensor

from deeplab.models.aspp import ASPP
from deeplab.models.backbones.base import Backbone
from deeplab.models.decoder import Decoder
from deeplab.models.layers import Conv, initialize
from deeplab.models.network import Network
from deeplab.models.own_parts import OwnASPP, OwnDecoder
from deeplab.utils.constants import LOGITS_STD
from deeplab.utils.settings import WeightInit


class DeepLabV3Plus(Network):
    """Encoder-decoder with atrous separable convolution; with a naive decoder it is DeepLabv3.

    The parts are finished modules; ``in_channels`` of each must equal ``out_channels`` of the part
    before it (``deeplab.config.build_model`` builds them from a config).

    Args:
        backbone: the feature extractor; it also defines the input normalization.
        aspp: the encoder's head.
        decoder: refines the encoder's map.
        num_classes: number of classes, including the background.
        logits_init: initialization of the logits' weights, a standard deviation or a name that
            ``deeplab.models.layers.initialize`` explains; by default the authors'. Their biases
            are 0.
    """

    def __init__(
        self,
        backbone: Backbone,
        aspp: ASPP | OwnASPP,
        decoder: Decoder | OwnDecoder,
        *,
        num_classes: int,
        logits_init: WeightInit = LOGITS_STD,
    ) -> None:
        super().__init__(backbone)
        self.aspp = aspp
        self.decoder = decoder
        self.settings: dict[str, Any] = {}
        """Keys of ``ModelConfig`` and ``num_classes``, if it was built from them."""
        self.logits = Conv(decoder.out_channels, num_classes, bias=True)
        initialize(self.logits, logits_init)

    @property
    def num_classes(self) -> int:
        """Number of classes, including the background."""
        return self.logits.out_channels

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.backbone.in_channels

    @property
    def output_stride(self) -> int:
        """The encoder's current output stride."""
        return self.backbone.output_stride

    @property
    def logits_stride(self) -> int:
        """Stride of the logits' grid in pixels of the image."""
        return min(self.decoder.stride or self.output_stride, self.output_stride)

    def set_output_stride(self, output_stride: int) -> None:
        """Set the output stride: 8, 16 or 32.

        This changes strides, atrous rates and paddings of the backbone and the ASPP, but not the
        state dict.

        Raises:
            ValueError: the backbone or the ASPP cannot run at this output stride.
        """
        self.backbone.set_output_stride(output_stride)
        self.aspp.set_output_stride(output_stride)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(N, num_classes, h, w)`` of images.

        The logits lie on the decoder's grid: h = floor((H - 1) / 4) + 1 for the paper's decoder,
        with the output stride instead of 4 for the naive one. Loss and inference resize them to
        the image, one image at a time (``deeplab.training.losses``,
        ``deeplab.inference.predictor``).

        Args:
            images: ``(N, in_channels, H, W)``, 0 to 255, of any dtype; RGB if ``in_channels`` is 3.
        """
        features = self.backbone(self.normalize(images))
        encoded = self.aspp(features["output"])  # (N, 256, H/output_stride, W/output_stride)
        return self.logits(self.decoder(encoded, features))  # (N, num_classes, H/4, W/4)
