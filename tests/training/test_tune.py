"""Search for a learning rate and for the number of images that fit into memory."""

import math
import re

import numpy as np
import pytest
from lightning import Trainer
from PIL import Image

from deeplab.config.schema.scripts import TuneSettings
from deeplab.training import tune
from deeplab.training.compose_config import compose_train
from deeplab.training.step_time import measure_step
from deeplab.utils.errors import UserError
from support.scripts import SMALL, run

KEYS = [s for s in SMALL if not s.startswith(("stage", "logger"))]


def test_a_learning_rate_is_suggested(tmp_path):
    arguments = ("num_steps=20", "max_lr=0.1", "stage.lr=0.5", "stage.batch_size=2")
    done = run("tune", *KEYS, *arguments, cwd=tmp_path)
    suggestion = float(re.search(r"Suggested learning rate: ([\d.e-]+),", done.stdout)[1])
    assert 1e-5 < suggestion < 0.1
    command = re.search(r"train  +(.*)", done.stdout)[1]
    assert command.endswith(f"stage.batch_size=2 stage.lr={suggestion:.2g}")
    assert "num_steps" not in command
    assert "stage.lr=0.5" not in command
    assert "  recipe      stage.lr=0.5\n" in done.stdout
    check_what_is_left(tmp_path)


@pytest.mark.parametrize("steps", [30, 100, 1000])
def test_the_slope_of_the_loss_is_over_the_logarithm_of_the_rate(steps):
    """The loss falls by half at 0.02, with noise, and then diverges."""
    rates = np.geomspace(1e-5, 1, steps)
    losses = 2 - 1 / (1 + (0.02 / rates) ** 1.5) + np.maximum(0, np.log(rates / 0.2)) ** 2
    losses += np.random.default_rng(0).normal(scale=1e-3, size=steps)
    steepest = tune._find_steepest(rates.tolist(), losses.tolist())
    assert 0.01 < rates[steepest] < 0.04


def test_no_rate_is_suggested_where_the_loss_does_not_fall():
    rates = np.geomspace(1e-5, 1, 20).tolist()
    assert tune._find_steepest(rates, [1.0 + i for i in range(20)]) is None
    assert tune._find_steepest(rates, [1.0, 0.5, *[math.nan] * 18]) is None
    assert tune._find_steepest([], []) is None


def test_the_images_that_fit_are_found(tmp_path):
    arguments = ("find=batch_size", "stage.batch_size=2", 'figure="~/tune.png"')
    done = run("tune", *KEYS, *arguments, cwd=tmp_path, variables={"HOME": str(tmp_path)})
    assert [
        line.split()[0] for line in done.stdout.splitlines() if re.match(r" +\d+ +\d", line)
    ] == [*"124"]
    assert "Suggestion: 2 of the 2 images of a step at a time: they all fit" in done.stdout
    check_what_is_left(tmp_path)


def test_not_even_one_image_fits(tmp_path, monkeypatch):
    """One look at the images is enough for all numbers of them."""

    def out_of_memory(*_, **__):
        raise MemoryError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tune, "measure_step", out_of_memory)
    config = compose_train([*KEYS, "stage.batch_size=4"])
    with pytest.raises(UserError, match=r"data\.crop_size=33: not even one image fits into"):
        tune.run_tuning(config, TuneSettings(find="batch_size"))


def test_memory_that_others_use_is_not_offered(monkeypatch):
    """In a container, for instance, which may take less than the machine has."""
    used = tune.peak_memory("cpu")
    monkeypatch.setattr(tune, "free_memory", lambda device: 5 * 2**20)
    assert used <= tune._usable_memory("cpu") - 5 * 2**20 < used + 2**30
    monkeypatch.setattr(tune, "free_memory", lambda device: None)
    assert tune._usable_memory("cpu") > used


def test_the_backbone_that_is_frozen_at_first_is_measured_as_it_is_later(monkeypatch):
    """Its backward pass takes memory and time."""
    trained = []

    def fit(self, module, *_):
        module.train()
        module.backbone.update(0)
        trained.append(any(p.requires_grad for p in module.model.backbone.parameters()))
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", fit)
    for value in ("500", "true", "false"):
        config = compose_train([*KEYS, "stage.batch_size=2", f"stage.freeze_backbone={value}"])
        with pytest.raises(KeyboardInterrupt):
            measure_step(config, num_classes=7)
    assert trained == [True, False, True]


def check_what_is_left(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["data", "tune.png"]
    with Image.open(folder / "tune.png") as figure:
        figure.verify()


def test_wrong_searches(tmp_path):
    for arguments, problem in [
        (["find=lrs"], "find=lrs: must be 'lr' or 'batch_size'"),
        (["min_lr=1", "max_lr=0.1"], "max_lr=0.1: must be above min_lr (1)"),
        (["trainer.devices=2"], "deeplab tune uses one device"),
    ]:
        done = run("tune", *KEYS, *arguments, cwd=tmp_path, ok=False)
        assert done.returncode == 2
        assert problem in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("tune.png"))
