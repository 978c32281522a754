"""Tests of what the progress bar of a run shows."""

import types

import pytest
from lightning.pytorch.callbacks import TQDMProgressBar

from deeplab.training.callbacks.progress_bar import RunProgress


@pytest.mark.parametrize(("columns", "shown"), [("80", ""), ("200", "memory")])
def test_scores_fit_into_a_narrow_terminal(monkeypatch, columns, shown):
    monkeypatch.setenv("COLUMNS", columns)
    metrics = {"v_num": 0, "train/loss": 0.782, "val/mIoU": 11.4}
    monkeypatch.setattr(TQDMProgressBar, "get_metrics", lambda *_: dict(metrics))
    module = types.SimpleNamespace(device=types.SimpleNamespace(type="cpu"))
    assert list(RunProgress(40).get_metrics(None, module)) == ["loss", "mIoU", *shown.split()]
