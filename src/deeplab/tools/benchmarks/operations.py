"""Time of a training step by operation."""

from collections.abc import Callable
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from deeplab.config.execution import choose_execution
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.models.backbones import Backbone, ResNet, Xception
from deeplab.tools.benchmarks.networks import TrainingStep, build_network
from deeplab.tools.benchmarks.training_step import SHAPES
from deeplab.utils.text_table import Column, TextTable, number_column

NETWORKS: dict[str, Callable[[], Backbone]] = {
    "ResNet-101": partial(ResNet, 101),
    "Xception-65": partial(Xception, 65),
}

NUM_OPERATIONS = 12
"""Number of operations that are listed."""


def print_operations(*, repeats: int) -> None:
    """Print which operations a training step of this project's networks spends its time on.

    Args:
        repeats: number of steps.
    """
    execution = choose_execution(TrainerSettings())
    gpu = execution.accelerator == "cuda"
    attribute = "self_device_time_total" if gpu else "self_cpu_time_total"
    count, side = SHAPES[execution.accelerator]
    print(f"Training steps: {execution}, {count} crops of {side}", flush=True)
    for name, backbone in NETWORKS.items():
        step = TrainingStep(build_network(backbone()), execution, (count, side))
        step()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
        with execution.threads(), profile(activities=activities) as profiler:
            for _ in range(repeats):
                step()
            step.synchronize()
        events = profiler.key_averages()
        total = sum(getattr(event, attribute) for event in events)
        events = sorted(events, key=lambda event: -getattr(event, attribute))[:NUM_OPERATIONS]
        columns = [
            Column(f"{name}, operation"),
            number_column("calls a step", "g"),
            number_column("milliseconds a step", ".1f", unit=1e3),
            number_column("% of the time", ".1f", unit=0.01),
        ]
        rows = [
            (
                event.key[:60],
                event.count / repeats,
                getattr(event, attribute) / repeats,
                getattr(event, attribute) / total,
            )
            for event in events
        ]
        print(TextTable.from_values(columns, rows).as_text() + "\n", flush=True)
        del step
        if gpu:
            torch.cuda.empty_cache()
