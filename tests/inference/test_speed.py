"""Measurement of speed and memory."""

import pytest

from deeplab.inference import speed
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Strategy
from support.networks import tiny_model


@pytest.mark.parametrize("status", [None, "VmRSS:\t 12 kB\n", "VmHWM:\t 12 kB\n"])
def test_memory_that_the_system_does_not_report_is_none(status, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(speed, "CLEAR_REFS", tmp_path)  # which cannot be written, as in a container
    monkeypatch.setattr(speed, "STATUS", tmp_path / "status")
    if status:
        (tmp_path / "status").write_text(status)
    predictor = Predictor(tiny_model(), [Strategy(16)])
    measured = speed.measure_speed(predictor, input_size=(33, 33))
    assert measured.peak_memory_bytes == (12 * 1024 if status and "HWM" in status else None)
