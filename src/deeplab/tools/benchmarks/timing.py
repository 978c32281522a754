"""Parts shared by benchmarks of whole networks: the network, and timing a pair of functions."""

import statistics
import time
from collections.abc import Callable

import torch

from deeplab.models.aspp import ASPP
from deeplab.models.backbones import Backbone
from deeplab.models.decoder import Decoder
from deeplab.models.deeplabv3plus import DeepLabV3Plus

CLASSES = 21


def build_network(backbone: Backbone) -> DeepLabV3Plus:
    """Build a DeepLabv3+ with random weights and the paper's ASPP and decoder."""
    aspp = ASPP(backbone.out_channels)
    decoder = Decoder(aspp.out_channels, backbone.low_level)
    return DeepLabV3Plus(backbone, aspp, decoder, num_classes=CLASSES)


Work = tuple[str, Callable[[], object]]
"""Name of what is timed, and a function that does it once."""


def print_comparison(
    name: str, *, baseline: Work, candidate: Work, repeats: int, device: str = "cpu"
) -> None:
    """Print the median seconds of baseline and candidate, and the candidate's speedup.

    Both run in turn, once to warm up and then ``repeats`` times.
    """
    seconds: dict[str, list[float]] = {baseline[0]: [], candidate[0]: []}
    for repeat in range(repeats + 1):
        for label, work in (baseline, candidate):
            elapsed = _time(work, device)
            if repeat:  # the first run is the warm-up
                seconds[label].append(elapsed)
    medians = {label: statistics.median(values) for label, values in seconds.items()}
    times = "   ".join(f"{label} {median:6.3f} s" for label, median in medians.items())
    speedup = medians[baseline[0]] / medians[candidate[0]]
    print(f"  {name:<12} {times}   speedup {speedup:.2f}")


def _time(work: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
