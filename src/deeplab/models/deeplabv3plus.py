"""The network of the paper's Figure 2: backbone, ASPP, decoder, logits."""

from torch import Tensor, nn

from deeplab.models.aspp import ASPP
from deeplab.models.backbones.base import Backbone
from deeplab.models.decoder import Decoder
from deeplab.models.layers import Conv, Normalize, initialize


class DeepLabV3Plus(nn.Module):
    """Encoder-decoder with atrous separable convolution; with a naive decoder it is DeepLabv3.

    The parts are finished modules; ``in_channels`` of one must be what the part before states
    (``deeplab.config.build_model`` does this from a config).

    Args:
        backbone: the feature extractor; it also states how its input is normalized.
        aspp: the encoder's head.
        decoder: refines the encoder's map.
        num_classes: classes, the background included.
    """

    def __init__(
        self, backbone: Backbone, aspp: ASPP, decoder: Decoder, *, num_classes: int
    ) -> None:
        super().__init__()
        self.normalize = Normalize(backbone.mean, backbone.std)
        self.backbone = backbone
        self.aspp = aspp
        self.decoder = decoder
        self.logits = Conv(decoder.out_channels, num_classes, bias=True)
        initialize(self.logits, 0.01)  # the authors' standard deviation; bias 0

    @property
    def num_classes(self) -> int:
        """Classes, the background included."""
        return self.logits.out_channels

    @property
    def output_stride(self) -> int:
        """The encoder's output stride at present."""
        return self.backbone.output_stride

    @property
    def logits_stride(self) -> int:
        """Pixels of the image for one of the logits' grid."""
        return min(self.decoder.stride or self.output_stride, self.output_stride)

    def set_output_stride(self, output_stride: int) -> None:
        """Run the same weights at another output stride, 8, 16 or 32.

        Strides, rates and paddings of the backbone and of the ASPP follow; the state dict does
        not change.
        """
        self.backbone.set_output_stride(output_stride)
        self.aspp.set_output_stride(output_stride)

    def forward(self, images: Tensor) -> Tensor:
        """RGB images ``(N, 3, H, W)``, 0 to 255 of any dtype, to logits ``(N, num_classes, h, w)``.

        The logits lie on the decoder's grid: h = floor((H - 1) / 4) + 1 for the paper's decoder,
        the output stride instead of 4 for the naive one. Loss and inference resize them to the
        image, one image at a time (``deeplab.training.losses``, ``deeplab.inference.predictor``).
        """
        features = self.backbone(self.normalize(images))
        encoded = self.aspp(features["output"])  # (N, 256, H/output_stride, W/output_stride)
        return self.logits(self.decoder(encoded, features))  # (N, num_classes, H/4, W/4)
