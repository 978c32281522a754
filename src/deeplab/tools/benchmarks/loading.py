"""Benchmark of the loading of crops against what the training of networks takes."""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from deeplab.config.execution import choose_execution
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.data.loader import build_loader
from deeplab.models.backbones import Backbone, MobileNetV2, ResNet
from deeplab.tools.benchmarks import pipeline
from deeplab.tools.benchmarks.networks import TrainingStep, build_network
from deeplab.tools.benchmarks.timing import Comparison
from deeplab.utils.text_table import Column, TextTable, number_column

NETWORKS: dict[str, Callable[[], Backbone]] = {
    "MobileNetV2": MobileNetV2,
    "ResNet-101": partial(ResNet, 101),
}

CPU_BATCH = 2
"""Crops of a training step on a CPU."""

NUM_BATCHES = 20
"""Batches of a measurement, after as many as the processes load ahead."""


def compare_loading(*, repeats: int) -> list[Comparison]:
    """Print the images per second that are loaded from files, and those that networks take.

    The images have VOC's sizes, and are loaded by as many processes as ``trainer.num_workers=auto``
    chooses.
    """
    execution = replace(choose_execution(TrainerSettings()), compiled=False)
    side, count = pipeline.CROP, pipeline.BATCH
    with tempfile.TemporaryDirectory() as folder:
        dataset = pipeline.build_dataset(pipeline.draw_images(Path(folder)))
        loader = build_loader(
            dataset,
            num_workers=execution.num_workers,
            batch_bytes=count * side * side * 4,
            batch_sampler=_Batches(len(dataset), count),
        )
        batches = iter(loader)
        for _ in range(1 + 2 * execution.num_workers):
            next(batches)
        loading = min(_seconds(batches) for _ in range(repeats)) / count
        del batches, loader
    name = f"loading, {execution.num_workers or 'no'} further processes"
    columns = [Column(f"crops of {side}"), number_column("images per second", ".1f")]
    rows = [(name, 1 / loading)]
    comparisons = []
    for label, backbone in NETWORKS.items():
        trained = count if execution.accelerator == "cuda" else min(count, CPU_BATCH)
        step = TrainingStep(build_network(backbone()), execution, (trained, side))
        step()
        training = min(_timed(step) for _ in range(repeats)) / trained
        rows.append((f"training {label}, {execution.precision}", 1 / training))
        comparisons.append(
            Comparison("an image", "loading it", f"training {label} on it", loading, training)
        )
        del step
    print(TextTable.from_values(columns, rows).as_text(), flush=True)
    return comparisons


class _Batches:
    """Endless batches of (index, draw)."""

    def __init__(self, size: int, count: int) -> None:
        self.size, self.count = size, count

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for start in itertools.count(step=self.count):
            yield [(draw % self.size, draw) for draw in range(start, start + self.count)]


def _seconds(batches: Iterator[object]) -> float:
    """Return the seconds that a batch takes."""
    start = time.perf_counter()
    for _ in range(NUM_BATCHES):
        next(batches)
    return (time.perf_counter() - start) / NUM_BATCHES


def _timed(step: TrainingStep) -> float:
    step.synchronize()
    start = time.perf_counter()
    step()
    step.synchronize()
    return time.perf_counter() - start
