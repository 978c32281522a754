"""Precision of training steps and of scores."""

import numpy as np
import pytest
import torch

import deeplab
from deeplab.config import execution
from deeplab.models.classifier import Classifier
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from support.networks import tiny_resnet
from support.scripts import SMALL

OVERRIDES = [s for s in SMALL if "precision" not in s]


@pytest.mark.parametrize(
    ("precision", "of_steps", "of_scores"),
    [("auto", "bf16-mixed", "32-true"), ("bf16-mixed", "bf16-mixed", "bf16-mixed")],
)
def test_scores_are_float32_unless_the_key_is_set(
    tmp_path, monkeypatch, precision, of_steps, of_scores
):
    """On a machine that is fast in bfloat16; the protocol and the machine's line say so."""
    monkeypatch.setattr(execution, "has_fast_bf16", lambda _: True)
    seen = set()
    forward = DeepLabV3Plus.forward

    def record(self, *args, **kwargs):
        seen.add((self.training, torch.is_autocast_enabled("cpu")))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(DeepLabV3Plus, "forward", record)
    overrides = [*OVERRIDES, f"trainer.precision={precision}", f"runs_dir={tmp_path}"]
    run = deeplab.train("shapes", root=tmp_path / "data", overrides=overrides)
    assert (True, True) in seen
    assert (False, of_scores != "32-true") in seen
    assert (False, of_scores == "32-true") not in seen
    assert run.result.protocol.precision == of_scores
    (evaluation,) = deeplab.evaluate(
        run, strategies=["os16"], overrides=[f"trainer.precision={precision}"]
    )
    assert evaluation.protocol.precision == of_scores
    if of_scores == "32-true":  # but for the rounding of the folded batch norms
        assert evaluation.miou == pytest.approx(run.result.miou, abs=0.05)
    machine = run.folder / "run.json"
    assert f'"precision": "{of_steps}"' in machine.read_text()


def test_scores_and_predictions_of_float64_are_computed_in_float64(tmp_path, monkeypatch):
    seen = set()
    forward = DeepLabV3Plus.forward

    def record(self, *args, **kwargs):
        logits = forward(self, *args, **kwargs)
        seen.add((next(self.parameters()).dtype, logits.dtype))
        return logits

    monkeypatch.setattr(DeepLabV3Plus, "forward", record)
    float64 = ["trainer.precision=64-true"]
    run = deeplab.train(
        "shapes", root=tmp_path / "data", overrides=[*OVERRIDES, *float64, f"runs_dir={tmp_path}"]
    )
    (evaluation,) = deeplab.evaluate(run, overrides=float64)
    run.load(precision="64-true").predict(np.zeros((40, 50, 3), np.uint8))
    assert seen == {(torch.float64, torch.float64)}
    assert evaluation.protocol.precision == run.result.protocol.precision == "64-true"
    assert evaluation.scores == run.result.scores


def test_a_classifier_trains_and_is_evaluated_in_float64(tmp_path):
    model = Classifier(tiny_resnet(), num_classes=3).double()
    assert model(torch.zeros(1, 3, 33, 33)).dtype == torch.float64
    overrides = [
        "stage=shape_classes", *(s for s in OVERRIDES if not s.startswith("data.")),
        "data.num_train=6", "data.num_val=6", "data.crop_size=33",
        "trainer.precision=64-true", f"runs_dir={tmp_path}", f"data.root={tmp_path}/data",
    ]  # fmt: skip
    run = deeplab.train("shape_classes", overrides=overrides)
    (evaluation,) = deeplab.evaluate(run, overrides=["trainer.precision=64-true"])
    assert evaluation.protocol.precision == "64-true"
    assert evaluation.scores == run.result.scores
