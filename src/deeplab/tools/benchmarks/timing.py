"""What benchmarks of whole networks share: the network, and timing two ways to the same side by
side."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from deeplab.models.aspp import ASPP
from deeplab.models.backbones import Backbone
from deeplab.models.decoder import Decoder
from deeplab.models.deeplabv3plus import DeepLabV3Plus

CLASSES = 21


def network(backbone: Backbone) -> DeepLabV3Plus:
    """A DeepLabv3+ of random weights, with the paper's ASPP and decoder."""
    aspp = ASPP(backbone.out_channels)
    decoder = Decoder(aspp.out_channels, backbone.low_level)
    return DeepLabV3Plus(backbone, aspp, decoder, num_classes=CLASSES)


def print_sides(
    name: str, sides: Mapping[str, Callable[[], object]], *, repeats: int, device: str = "cpu"
) -> None:
    """Run both in turn, once to warm up, and print the median seconds of each and how many times
    as fast the second is."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for repeat in range(repeats + 1):
        for side, work in sides.items():
            taken = _time(work, device)
            if repeat:  # the first one warms up
                seconds[side].append(taken)
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    said = "   ".join(f"{side} {median:6.3f} s" for side, median in medians.items())
    first, second = medians.values()
    print(f"  {name:<12} {said}   {first / second:.2f} times as fast")


def _time(work: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
