import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deeplab.utils import cores
from deeplab.utils.cores import cpu_count, measure_other_load, start_measuring

linux = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux")

BUSY = "while True: pass"


def _work(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.fixture
def measurement(monkeypatch):
    """Start without a measurement."""
    monkeypatch.setattr(cores, "_readings", [])
    monkeypatch.setattr(cores, "_loads", [0.0])


@linux
@pytest.mark.usefixtures("measurement")
def test_the_work_of_other_processes_is_measured_and_not_the_own():
    core = min(os.sched_getaffinity(0))
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    allowed = os.sched_getaffinity(0)
    try:
        for other in others:
            os.sched_setaffinity(other.pid, {core})
        os.sched_setaffinity(0, {core})
        start_measuring()
        start, own = time.monotonic(), time.process_time()
        _work(1.5)
        share = (time.process_time() - own) / (time.monotonic() - start)
        assert measure_other_load() == pytest.approx(1 - share, abs=0.15)
    finally:
        os.sched_setaffinity(0, allowed)
        for other in others:
            other.kill()
            other.wait()


@linux
@pytest.mark.usefixtures("measurement")
def test_calls_at_short_intervals_return_the_same(monkeypatch):
    readings = [cores._Reading(0, 0, 0), cores._Reading(2, 3, 1), cores._Reading(2.1, 9, 1)]
    monkeypatch.setattr(cores, "_read", lambda: readings.pop(0))
    start_measuring()
    assert [measure_other_load() for _ in range(2)] == [1, 1]


def test_a_program_that_did_not_start_a_measurement_waits_for_one(measurement, monkeypatch):
    readings = [cores._Reading(5, 0, 0), cores._Reading(5.5, 0.75, 0.25)]
    monkeypatch.setattr(cores, "_read", lambda: readings.pop(0))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert measure_other_load() == 1


@pytest.mark.usefixtures("measurement")
def test_the_load_after_hours_is_the_present_one(monkeypatch):
    after = [cores._Reading(9000, 27000, 9000), cores._Reading(9000.5, 27001, 9000)]
    readings = [cores._Reading(0, 0, 0), *after]
    monkeypatch.setattr(cores, "_read", lambda: readings.pop(0))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    start_measuring()
    assert measure_other_load() == 2


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, 64),
        ({"cpu.cfs_quota_us": "300000", "cpu.cfs_period_us": "100000"}, 3),
        ({"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, 64),
        ({"cpu.max": "10000 100000"}, 1),
        ({}, 64),
    ],
)
def test_a_container_limits_the_cores(tmp_path, monkeypatch, files, expected):
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(cores, "QUOTAS", [tmp_path / "cpu.max", tmp_path / "cpu.cfs_quota_us"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    assert cpu_count() == expected
