"""Tests of the benchmarks: functions are timed in turn, and every script runs, with small sizes."""

import re
import time
from functools import partial

import pytest
import torch

from deeplab.models.backbones import MobileNetV2
from deeplab.tools.benchmarks import loss, pipeline, strategies
from deeplab.tools.benchmarks.timing import compare


def test_functions_alternate_and_the_ratio_is_that_of_their_times(capsys):
    calls = []

    def work(name, seconds):
        calls.append(name)
        time.sleep(seconds)

    works = {"slow": partial(work, "slow", 0.06), "fast": partial(work, "fast", 0.02)}
    slow, fast = compare("sleeping", works, repeats=4)
    assert len(slow.times) == len(fast.times) == 4
    assert [name for name, before in zip(calls, ["", *calls], strict=False) if name != before] == [
        "slow",
        "fast",
    ] * 4
    printed = capsys.readouterr().out
    speedup = float(re.search(r"fast: (\S+) times as fast as slow", printed)[1])
    assert speedup == pytest.approx(slow.median / fast.median, abs=0.005)
    assert 1.2 < speedup < 4
    assert "sleeping" in printed
    assert f"{torch.get_num_threads()} threads" in printed


def test_loss(monkeypatch, capsys):
    for name, value in (("BATCH", 2), ("CLASSES", 3), ("SMALL", 9), ("LARGE", 33)):
        monkeypatch.setattr(loss, name, value)
    loss.compare_losses(repeats=1)
    assert capsys.readouterr().out.count("times as fast as plain") == 2


@pytest.mark.processes
def test_pipeline(monkeypatch, capsys):
    pytest.importorskip("albumentations")
    for name, value in (("IMAGES", 4), ("BATCH", 2), ("CROP", 65)):
        monkeypatch.setattr(pipeline, name, value)
    threads = torch.get_num_threads()
    pipeline.compare_pipelines(repeats=1)
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert printed.count("times as fast as Pillow, stock albumentations, Normalize") == 3
    assert "decode the JPEG" in printed


def test_strategies(monkeypatch, capsys):
    monkeypatch.setattr(strategies, "NETWORKS", {"MobileNetV2": MobileNetV2})
    monkeypatch.setattr(strategies, "SIZE", (40, 50))
    monkeypatch.setattr(strategies, "PADDED", (65, 65))
    strategies.compare_strategies(repeats=1)
    assert "this project: " in capsys.readouterr().out
