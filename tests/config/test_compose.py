"""Composition outside of a Hydra application, against Hydra's own."""

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf

from deeplab.config import compose
from deeplab.config.compose import composed
from deeplab.utils.errors import UserError

DATA = ["data=voc", "data.root=/mine"]


def contents(config):
    return OmegaConf.to_container(config, resolve=False)


@pytest.mark.parametrize(
    ("script", "overrides"),
    [
        ("train", []),
        ("train", [*DATA, "seed=3", "stage.max_steps=7", "aspp.atrous_rates=[1,2,3]"]),
        ("train", [*DATA, "backbone=resnet101", "decoder=naive", "backbone.depth=50"]),
        ("train", [*DATA, "seed=1", "seed=2", "callbacks=none"]),
        ("train", [*DATA, "+callbacks.mine._target_=a.B"]),
        ("train", [*DATA, "loss._target_=a.B", "loss.gamma=2"]),
        ("train", [*DATA, "hydra.verbose=true", "logger=csv"]),
        ("prepare", ["data=coco", "data.root=${oc.env:HOME}"]),
        ("tune", [*DATA, "augmentation=strong", "callbacks=none"]),
        ("evaluate", ["run=a", "trainer.accelerator=cpu"]),
    ],
)
def test_choices_that_were_composed_before_give_what_hydra_composes(script, overrides):
    known = {"loss._target_": "loss=own"}
    implied = [known[o.split("=")[0]] for o in overrides if o.split("=")[0] in known]
    everything = [*overrides, *implied]
    with compose._lock, compose._separate_hydra():
        loader = compose._loader()
        expected = loader.load_configuration(script, everything, run_mode=RunMode.RUN)
        assert expected.hydra.overrides.task == [o for o in everything if "hydra" not in o]
        expected = compose.without_hydra(expected)
    for _ in range(2):
        with composed(script, overrides) as config:
            assert contents(config) == contents(expected)
            with pytest.raises(Exception, match="not_a_key"):
                config.not_a_key = 1
            if "seed" in config:
                config.seed = 99  # must not reach the next one


def test_a_changed_file_of_the_user_is_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "conf" / "stage" / "mine.yaml"
    path.parent.mkdir(parents=True)
    for steps in (7, 12):
        path.write_text(f"defaults: [voc]\nmax_steps: {steps}\n")
        with composed("train", [*DATA, "stage=mine"]) as config:
            assert config.stage.max_steps == steps
    path.unlink()
    with pytest.raises(UserError, match="stage=mine"), composed("train", [*DATA, "stage=mine"]):
        pass


@pytest.mark.parametrize("override", ["seed=1,2", "stage.no_such_key=1", "stage=no_such"])
def test_what_hydra_rejects_is_rejected_also_the_second_time(override):
    for _ in range(2):
        with pytest.raises(UserError), composed("train", [*DATA, override]):
            pass
