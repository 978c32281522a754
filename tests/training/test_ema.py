"""Tests of the moving average of the weights, also in runs of ``stage=modern_shapes``."""

import csv
import json
import math

import pytest
import torch
from lightning import Callback, Trainer
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from deeplab.config.schema.optimizer import AdamWSettings, SGDSettings
from deeplab.config.schema.stage import Recipe
from deeplab.training.callbacks.non_finite_loss import TerminateOnNonFinite
from deeplab.training.ema import decay_at, ema_copy, update_ema
from deeplab.training.segmentation import SegmentationModule
from deeplab.utils.errors import UserError
from support.batches import NAMES, batch
from support.networks import equal_states, tiny_model
from support.scripts import CPU, SMALL, run, run_folders

MODERN = (
    *(s for s in SMALL if "steps" not in s),
    "stage=modern_shapes",
    "lr_scheduler=cosine",
    "stage.max_steps=24",
    "stage.warmup_steps=4",
    "trainer.log_every_n_steps=1",
    "trainer.num_checkpoints=8",
)

RECIPES = {
    "sgd": (SGDSettings(), {"lr": 0.05}),
    "adamw": (AdamWSettings(), {"lr": 0.01, "gradient_clip_val": 1.0}),
}


def test_decay_rises_from_zero_to_its_maximum():
    assert decay_at(0, 0.999) == 0
    assert [decay_at(step, 0.999) for step in (1, 9, 91)] == pytest.approx([0.1, 0.5, 0.91])
    assert decay_at(8990, 0.999) < decay_at(8992, 0.999) == decay_at(10**6, 0.999) == 0.999


class RecordStates(Callback):
    """Saves the state of the network after every step."""

    def __init__(self):
        self.states = []

    def on_train_batch_end(self, trainer, module, *_):
        self.states.append({k: t.clone() for k, t in module.model.state_dict().items()})


@pytest.mark.parametrize(
    "options",
    [{}, {"channels_last": True, "fused_optimizer": True}],
    ids=["plain", "channels_last, fused"],
)
@pytest.mark.parametrize("name", RECIPES)
def test_average_matches_a_literal_loop(tmp_path, name, options):
    torch.manual_seed(0)
    optimizer, keys = RECIPES[name]
    recipe = Recipe(max_steps=12, ema_decay=0.4, bn_momentum=0.1, **keys)
    module = SegmentationModule(tiny_model(), recipe, NAMES, optimizer=optimizer, **options)
    recorder, batches = RecordStates(), DataLoader([batch()] * 12, batch_size=None)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        gradient_clip_val=recipe.gradient_clip_val,
        callbacks=[recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, batches)
    expected = recorder.states[0]
    for step, state in enumerate(recorder.states):
        decay = min(0.4, step / (step + 9))
        for name, tensor in state.items():
            if tensor.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * tensor
            else:
                expected[name] = tensor
    assert len(recorder.states) == 12
    for name, tensor in module.eval_model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
    moved = module.model.state_dict()["logits.weight"] - expected["logits.weight"]
    assert moved.abs().max() > 1e-4
    assert not any(p.requires_grad for p in module.average.parameters())
    module.train()
    assert not any(part.training for part in module.average.modules())


def test_average_of_a_constant_network_is_bit_identical():
    model = tiny_model()
    average = ema_copy(model)
    for decay in (0, 0.1, 0.9, 0.999):
        update_ema(average, model, decay)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, average.state_dict()[name])


def test_no_second_network_without_ema_decay():
    module = SegmentationModule(tiny_model(), Recipe(), NAMES)
    assert module.eval_model is module.model
    assert all(name.startswith("model.") for name in module.state_dict())


def test_gradient_clipping_disables_the_fused_update():
    """Lightning rejects the combination in mixed precision."""
    for clip, fused in ((None, True), (1.0, None)):
        module = SegmentationModule(
            tiny_model(), Recipe(gradient_clip_val=clip), NAMES, fused_optimizer=True
        )
        assert module.configure_optimizers()["optimizer"].defaults["fused"] is fused


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train, and return the run folder."""
    cwd = tmp_path_factory.mktemp("trained")
    run("train", *MODERN, cwd=cwd)
    (folder,) = run_folders(cwd)
    return folder


def network_and_average(checkpoint):
    """Return the states of the network and of its average in a checkpoint."""
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    return (
        {k.removeprefix(p): t for k, t in state.items() if k.startswith(p)}
        for p in ("model.", "average.")
    )


def test_result_is_the_average(trained):
    network, average = network_and_average(trained / "checkpoints/last.ckpt")
    saved = load_file(trained / "weights.safetensors")
    assert equal_states(saved, average)
    assert not equal_states(saved, network)
    assert json.loads((trained / "metrics.json").read_text())["weights"] == "moving average"
    with (trained / "metrics.csv").open() as file:
        rates = [float(r["train/lr"]) for r in csv.DictReader(file) if r["train/lr"]]
    warmup = [1e-6 + (0.003 - 1e-6) * step / 4 for step in range(4)]
    cosine = [0.003 * (1 + math.cos(math.pi * step / 20)) / 2 for step in range(20)]
    assert rates == pytest.approx([*warmup, *cosine], rel=1e-4)


def test_evaluation_of_a_checkpoint_uses_its_average(trained, tmp_path):
    """Compare with the scores of the average that training has written by step."""
    with (trained / "metrics.csv").open() as file:
        scores = [float(row["val/mIoU"]) for row in csv.DictReader(file) if row["val/mIoU"]]
    for name, expected in (("best", max(scores)), ("last", scores[-1])):
        checkpoint = trained / f"checkpoints/{name}.ckpt"
        run("evaluate", f"run={checkpoint}", "save_predictions=false", *CPU, cwd=tmp_path)
        (result,) = trained.glob(f"evaluations/*{name}*/result.json")
        assert json.loads(result.read_text())["mIoU"] == pytest.approx(expected, abs=1e-4)


def test_non_finite_loss_ends_the_run(tmp_path):
    overrides = (
        *(s for s in SMALL if "steps" not in s),
        "stage.max_steps=30",
        "trainer.num_checkpoints=30",
    )
    done = run("train", *overrides, "stage.lr=1e30", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "The loss of step 2 is not finite" in done.stderr
    assert "a smaller stage.lr (now 1e+30)" in done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = run_folders(tmp_path)
    assert not (folder / "metrics.json").exists()
    assert "not finite" in (folder / "failure.txt").read_text()
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 1


class FakeTrainer:
    """Trainer with the only attribute that the callback reads."""

    def __init__(self, global_step):
        self.global_step = global_step


def test_first_non_finite_step_is_reported_at_the_next_check():
    callback = TerminateOnNonFinite(5, "Try this.")
    for step, loss in enumerate((1.0, math.nan, 1.0, math.inf), start=1):
        callback.on_train_batch_end(FakeTrainer(step), None, {"loss": torch.tensor(loss)})
    for check in (
        lambda: callback.on_save_checkpoint(),
        lambda: callback.on_train_batch_end(FakeTrainer(5), None, {"loss": torch.tensor(1.0)}),
    ):
        with pytest.raises(UserError, match=r"loss of step 2 is not finite .*Try this\."):
            check()
