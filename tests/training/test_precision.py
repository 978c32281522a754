"""Precision of training steps and of scores."""

import pytest
import torch

import deeplab
from deeplab.config import execution
from deeplab.models.deeplabv3plus import DeepLabV3Plus
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
