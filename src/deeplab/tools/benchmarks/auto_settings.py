"""Benchmark of the execution settings that ``auto`` chooses, against all others.

On a CPU a compiled network is no candidate: compiling takes minutes there.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from deeplab.config.execution import FLOAT32, choose_execution
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.tools.benchmarks.networks import BACKBONES, TrainingStep, build_network
from deeplab.tools.benchmarks.timing import Comparison, compare
from deeplab.utils.hardware import Execution

SHAPES = {"cpu": (2, 257), "mps": (2, 257), "cuda": (16, 513)}
"""Number of crops and their side, by device."""

CPU_PRECISIONS = (FLOAT32, "bf16-mixed")
GPU_PRECISIONS = (*CPU_PRECISIONS, "16-mixed")


def compare_settings(*, repeats: int) -> list[Comparison]:
    """Print the time of a training step under each setting, and how far ``auto`` is from the best.

    On a CPU the chosen settings are also measured with one thread.
    """
    chosen = choose_execution(TrainerSettings())
    shape = SHAPES[chosen.accelerator]
    print(f"auto: {chosen}", flush=True)
    comparisons = []
    for name, backbone in BACKBONES.items():
        works: dict[str, Callable[[], object]] = {}
        for execution in [chosen, *(e for e in _candidates(chosen) if e != chosen)]:
            step = TrainingStep(build_network(backbone()), execution, shape)
            works[_label(execution)] = step
            if execution == chosen and chosen.accelerator == "cpu" and torch.get_num_threads() > 1:
                works[f"{_label(execution)}, 1 thread"] = _OneThread(step)
        auto = next(iter(works))
        with chosen.threads():
            measured = compare(f"{name}, auto: {auto}", works, repeats=repeats)
        best = min(measured, key=lambda comparison: comparison.seconds)
        seconds = best.alternative_seconds
        comparison = Comparison(
            f"settings of a training step, {name}",
            f"auto ({auto})",
            f"best other of {len(measured)} ({best.name})",
            seconds,
            best.seconds,
        )
        comparisons.append(comparison)
    return comparisons


def _candidates(chosen: Execution) -> list[Execution]:
    gpu = chosen.accelerator == "cuda"
    candidates = [
        replace(
            chosen,
            precision=precision,
            validation_precision=chosen.validation_precision,
            channels_last=channels_last,
            compiled=False,
        )
        for precision in (GPU_PRECISIONS if gpu else CPU_PRECISIONS)
        for channels_last in (False, True)
    ]
    if gpu:  # compiling takes a minute: with the precision that is chosen only
        candidates += [
            replace(c, compiled=True) for c in candidates if c.precision == chosen.precision
        ]
    return candidates


def _label(execution: Execution) -> str:
    memory_format = "channels_last" if execution.channels_last else "contiguous"
    return f"{execution.precision}, {memory_format}" + ", compiled" * execution.compiled


class _OneThread:
    """A function in one thread."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work

    def __call__(self) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self.work()
        finally:
            torch.set_num_threads(threads)
