"""Cores that this process may use, and how many of them other processes use."""

import math
import os
import time
from pathlib import Path
from typing import NamedTuple

QUOTAS = ("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
"""Files of a container's share of the cores, of both versions of control groups."""

SHORTEST = 0.5
"""Seconds that a measurement takes at least; the system counts in hundredths."""

LONGEST = 60.0
"""Seconds that it takes at most, more than imports do: a mean of hours does not tell the present
load."""

WORKING = (0, 1, 2, 5, 6, 7)
"""Columns of ``/proc/stat``: user, nice, system, two kinds of interrupts, other machines."""


class _Reading(NamedTuple):
    """Seconds since some moment."""

    time: float
    all: float
    """Seconds that this process's cores have worked."""
    own: float
    """Seconds that they have worked for this process and its children that have ended."""


_readings: list[_Reading] = []
"""The reading from which the next measurement starts; empty before the first."""
_loads = [0.0]
"""The last measurement."""


def cpu_count() -> int:
    """Return the number of cores that this process may use at a time."""
    return max(1, min([allowed_cores(), *map(_quota, map(Path, QUOTAS))]))


def allowed_cores() -> int:
    """Return the number of cores on which this process may run, of all of a container's host."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return count or 1


def _quota(file: Path) -> int:
    """Return the cores that a container may use; a very large number without a limit."""
    try:
        words = file.read_text().split()
        period = words[1] if len(words) > 1 else file.with_name("cpu.cfs_period_us").read_text()
        cores = int(words[0]) / int(period)
    except (OSError, ValueError):  # there is no such file, or the quota is "max"
        return 1 << 30
    return math.ceil(cores) if cores > 0 else 1 << 30  # version 1 writes -1 for no limit


def start_measuring() -> None:
    """Start the measurement of ``measure_other_load``, which then need not wait for it."""
    if reading := _read():
        _readings[:] = [reading]


def measure_other_load() -> float:
    """Return how many of this process's ``allowed_cores`` others use.

    It measures since the call before; within half a second it returns the same. The first call
    without ``start_measuring``, and one after more than a minute, take half a second. Where the
    system does not tell, it returns 0.
    """
    reading = _read()
    if reading is None:
        return 0.0
    if not _readings or reading.time - _readings[0].time > LONGEST:
        _readings[:] = [reading]
        time.sleep(SHORTEST)
        return measure_other_load()
    start = _readings[0]
    seconds = reading.time - start.time
    if seconds >= SHORTEST:
        _loads[0] = max(0.0, (reading.all - start.all - (reading.own - start.own)) / seconds)
        _readings[0] = reading
    return _loads[0]


def _read() -> _Reading | None:
    """Read the times; None where the system has no ``/proc/stat``."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    columns = [line.split()[1:] for line in lines if line.split()[0] in cores]
    ticks = sum(int(column[k]) for column in columns for k in WORKING)
    return _Reading(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4]))
