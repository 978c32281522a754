"""Networks with random weights, and their training steps, for the benchmarks."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab.models.aspp import ASPP
from deeplab.models.backbones import Backbone, MobileNetV2, ResNet, Xception
from deeplab.models.decoder import Decoder
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.training.losses import SegmentationLoss
from deeplab.utils.constants import IGNORE
from deeplab.utils.hardware import Execution

CLASSES = 21

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "MobileNetV2": MobileNetV2,
    "ResNet-50": partial(ResNet, 50),
    "Xception-65": partial(Xception, 65),
}
"""Backbones that most benchmarks measure, from small to large."""

Loss = Callable[[Tensor, Tensor], Tensor]


def build_network(backbone: Backbone, *, separable: bool = False) -> DeepLabV3Plus:
    """Build a DeepLabv3+ with random weights.

    Args:
        backbone: the backbone.
        separable: separable convolutions in ASPP and decoder.
    """
    aspp = ASPP(backbone.out_channels, separable=separable)
    decoder = Decoder(aspp.out_channels, backbone.low_level, separable=separable)
    return DeepLabV3Plus(backbone, aspp, decoder, num_classes=CLASSES)


def plain_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of logits that are upsampled to the size of the labels."""
    size = (labels.shape[1], labels.shape[2])
    upsampled = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=True)
    return F.cross_entropy(upsampled, labels, ignore_index=IGNORE)


class TrainingStep:
    """A training step on random crops: forward and backward pass, loss, and SGD with momentum.

    Args:
        network: the network, which returns logits.
        execution: device, precision, memory format and compilation.
        shape: number of crops and their side.
        loss: function of logits and labels; None: the one that this project trains with.
    """

    def __init__(
        self,
        network: nn.Module,
        execution: Execution,
        shape: tuple[int, int],
        *,
        loss: Loss | None = None,
    ) -> None:
        self.device, self.dtype = execution.accelerator, execution.autocast_dtype
        self.format = torch.channels_last if execution.channels_last else torch.contiguous_format
        network = network.to(self.device).to(memory_format=self.format)  # type: ignore[call-overload]
        self.network = torch.compile(network) if execution.compiled else network
        self.loss = loss or SegmentationLoss().to(self.device)
        self.optimizer = torch.optim.SGD(
            network.parameters(), lr=1e-4, momentum=0.9, fused=execution.fused_optimizer
        )
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.dtype == torch.float16)
        count, side = shape
        images = torch.randint(
            0, 256, (count, 3, side, side), dtype=torch.uint8, device=self.device
        )
        self.images = images.contiguous(memory_format=self.format)
        self.labels = torch.randint(0, CLASSES, (count, side, side), device=self.device)

    def __call__(self) -> None:
        """Take a step."""
        with torch.autocast(self.device, self.dtype, enabled=self.dtype is not None):
            logits = self.network(self.images)
        loss = self.loss(logits, self.labels)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def synchronize(self) -> None:
        """Wait until the device has finished."""
        if self.device == "cuda":
            torch.cuda.synchronize()
