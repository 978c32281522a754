"""Parts shared by the benchmarks: the network, and timing functions in turn."""

from collections.abc import Callable, Mapping

import torch
from torch.utils.benchmark import Compare, Measurement, Timer

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


def compare(
    title: str, works: Mapping[str, Callable[[], object]], *, repeats: int
) -> list[Measurement]:
    """Time functions and print a table, and how many times as fast as the first one the others are.

    They alternate, so that all of them meet every change of the machine's speed; each is warmed up
    before each measurement.

    Args:
        title: title of the table.
        works: the functions by name; the first one is the baseline.
        repeats: number of measurements of each.
    """
    timers = [
        Timer(
            "work()",
            globals={"work": work},
            label=title,
            sub_label=name,
            description=f"median of {repeats}",
            num_threads=torch.get_num_threads(),
        )
        for name, work in works.items()
    ]
    merged = Measurement.merge([timer.timeit(1) for _ in range(repeats) for timer in timers])
    table = Compare(merged)
    table.trim_significant_figures()
    table.print()
    for name, measurement in zip(works, merged, strict=True):
        if measurement is not merged[0]:
            speedup = merged[0].median / measurement.median
            print(f"{name}: {speedup:.2f} times as fast as {next(iter(works))}\n", flush=True)
    return merged
