"""Timing of functions in turn, and its results."""

import statistics
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch.utils.benchmark import Timer

from deeplab.utils.text_table import Column, TextTable, number_column


class Comparison(NamedTuple):
    """Times of a way to do something and of the obvious alternative, measured in turn."""

    title: str
    """What is done, as ``ResNet-101, 16 crops of 513``."""
    name: str
    alternative: str
    seconds: float
    """Median of the measurements."""
    alternative_seconds: float
    peak_bytes: int | None = None
    """Most memory of a GPU that tensors took; None: not measured."""
    alternative_peak_bytes: int | None = None

    @property
    def speedup(self) -> float:
        """How many times as fast as the alternative."""
        return self.alternative_seconds / self.seconds


def compare(
    title: str, works: Mapping[str, Callable[[], object]], *, repeats: int
) -> list[Comparison]:
    """Time functions, print a table, and return how the first one compares with each other one.

    They alternate, so that all of them meet every change of the machine's speed; each is warmed up
    before each measurement.

    Args:
        title: title of the table.
        works: the functions by name; the first one is the alternative.
        repeats: number of measurements of each.
    """
    timers = {
        name: Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
        for name, work in works.items()
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, timer in timers.items():
            times[name].append(timer.timeit(1).median)
    alternative, *others = [(name, statistics.median(seconds)) for name, seconds in times.items()]
    comparisons = [
        Comparison(title, name, alternative[0], seconds, alternative[1]) for name, seconds in others
    ]
    columns = [
        Column(title),
        number_column("milliseconds", ".3g", unit=1e-3),
        number_column("times as fast", ".2f"),
    ]
    rows = [(*alternative, 1.0), *((c.name, c.seconds, c.speedup) for c in comparisons)]
    print(TextTable.from_values(columns, rows).as_text(), flush=True)
    return comparisons
