"""Benchmark of training steps against segmentation_models.pytorch (smp), Xception by timm.

Both have separable convolutions in ASPP and decoder, output stride 16, and the precision and memory
format that this project chooses; neither is compiled. The other one upsamples its logits and calls
cross-entropy, as its users do. Its sides must be multiples of 16: its crops are a pixel smaller.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab.config.execution import choose_execution
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.models.backbones import Backbone, MobileNetV2, ResNet, Xception
from deeplab.models.layers import Normalize
from deeplab.tools.benchmarks.networks import CLASSES, TrainingStep, build_network
from deeplab.tools.benchmarks.timing import Comparison, compare
from deeplab.utils.constants import IGNORE
from deeplab.utils.extras import require_extra
from deeplab.utils.hardware import Execution

SHAPES = {"cpu": (4, 257), "mps": (4, 257), "cuda": (16, 513)}
"""Number of crops and their side, by device; the paper's on a GPU."""


class Pair(NamedTuple):
    """A backbone and smp's name of it."""

    backbone: Callable[[], Backbone]
    encoder: str


PAIRS = {
    "MobileNetV2": Pair(MobileNetV2, "mobilenet_v2"),
    "ResNet-101": Pair(
        partial(ResNet, 101, layout="torchvision", stem="7x7", multi_grid=(1, 1, 1)), "resnet101"
    ),
    "Xception-65": Pair(partial(Xception, 65), "tu-xception65"),
}


class _SmpNetwork(nn.Module):
    """DeepLabV3Plus of smp, after the same normalization of uint8 images."""

    def __init__(self, encoder: str, backbone: Backbone) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp

        self.normalize = Normalize(backbone.mean, backbone.std)
        self.network = smp.DeepLabV3Plus(encoder, encoder_weights=None, classes=CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(self.normalize(images))
        return logits


def compare_training(*, repeats: int) -> list[Comparison]:
    """Print the time of a training step of several networks, on a GPU also the memory it takes."""
    require_extra("peers", "segmentation_models_pytorch", setting="benchmark train")
    execution = replace(choose_execution(TrainerSettings()), compiled=False)
    count, side = SHAPES[execution.accelerator]
    print(f"Training steps: {execution}, {count} crops of {side}", flush=True)
    comparisons = []
    for name, pair in PAIRS.items():
        builders = {
            "smp": partial(_smp_step, pair, execution, (count, side - 1)),
            "this project": partial(_own_step, pair, execution, (count, side)),
        }
        title = f"training step, {name}, {count} crops of {side}"
        peaks = [_peak_memory(build) for build in builders.values()]
        works = {label: build() for label, build in builders.items()}
        with execution.threads():
            measured = compare(title, works, repeats=repeats)
        del works  # before the memory of the next networks is measured
        for comparison in measured:
            comparisons.append(
                comparison._replace(alternative_peak_bytes=peaks[0], peak_bytes=peaks[1])
            )
    return comparisons


def _own_step(pair: Pair, execution: Execution, shape: tuple[int, int]) -> TrainingStep:
    return TrainingStep(build_network(pair.backbone(), separable=True), execution, shape)


def _smp_step(pair: Pair, execution: Execution, shape: tuple[int, int]) -> TrainingStep:
    network = _SmpNetwork(pair.encoder, pair.backbone())
    return TrainingStep(network, execution, shape, loss=_plain_loss)


def _plain_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE)


def _peak_memory(build: Callable[[], TrainingStep]) -> int | None:
    """Return the most bytes that tensors take in a step while there is no other network."""
    if not torch.cuda.is_available():
        return None
    step = build()
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated()
