"""Tests of what the progress bar of a run shows."""

import re
import types

import pytest
from lightning.pytorch.callbacks import TQDMProgressBar

from deeplab.training.callbacks.progress_bar import RunProgress
from deeplab.training.compose_config import compose_train
from deeplab.training.train import run_experiment
from support.scripts import SMALL


@pytest.mark.parametrize(("columns", "shown"), [("80", ""), ("200", "memory")])
def test_scores_fit_into_a_narrow_terminal(monkeypatch, columns, shown):
    monkeypatch.setenv("COLUMNS", columns)
    metrics = {"v_num": 0, "train/loss": 0.782, "val/mIoU": 11.4}
    monkeypatch.setattr(TQDMProgressBar, "get_metrics", lambda *_: dict(metrics))
    module = types.SimpleNamespace(device=types.SimpleNamespace(type="cpu"))
    assert list(RunProgress(40).get_metrics(None, module)) == ["loss", "mIoU", *shown.split()]


def test_a_long_validation_prints_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = compose_train([*SMALL, "data.num_val=40", "trainer.num_validations=1"])
    run_experiment(config)
    assert "Validation batch" not in capsys.readouterr().out
    monkeypatch.setattr("deeplab.utils.progress.MAX_INTERVAL", 0.0)  # each batch is long
    run_experiment(config.model_copy(update={"overwrite": True}))
    lines = re.findall(r"^Validation batch (\d+) of (\d+) ", capsys.readouterr().out, re.MULTILINE)
    assert len(lines) > 1
    assert lines == [(str(1 + i), str(len(lines))) for i in range(len(lines))]
