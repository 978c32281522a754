"""The module and the data in a Trainer that somebody else has built, with its default arguments."""

import json
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from lightning import LightningDataModule, Trainer

import deeplab
from deeplab.config.schema.stage import Recipe
from deeplab.data import SegmentationDataset, TrainSampler
from support.networks import tiny_model
from support.repository import ROOT
from support.scripts import environment

SETTINGS = [
    "data.num_train=6",
    "data.num_val=5",
    "data.min_size=48",
    "data.max_size=56",
    "data.crop_size=33",
    "data.eval_size=65",
    "data.eval_batch_size=2",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("lightning")


@pytest.fixture
def data(root) -> LightningDataModule:
    return deeplab.create_datamodule("shapes", root=root, batch_size=2, overrides=SETTINGS)


def make_module(data, **options):
    torch.manual_seed(0)
    model = deeplab.create_model("resnet_tiny", base_width=4, aspp="tiny", num_classes=7)
    return deeplab.SegmentationModule(model, class_names=data.classes.names, **options)


def make_trainer(folder, **options):
    return Trainer(accelerator="cpu", default_root_dir=folder, **{"devices": 1, **options})


def test_fit_validate_test_predict_and_load(tmp_path, data, capsys):
    module, trainer = make_module(data), make_trainer(tmp_path, max_epochs=2)
    trainer.fit(module, data)
    assert trainer.global_step == 2 * 3  # an epoch is a pass over the 6 images
    lr = trainer.optimizers[0].param_groups[0]["lr"]
    assert lr == 0.0  # the schedule is as long as the trainer

    (scores,) = trainer.validate(module, data, verbose=False)
    capsys.readouterr()
    (tested,) = trainer.test(module, data, verbose=False)
    assert "Testing on the validation images, data.val_split=val." in capsys.readouterr().err
    label_maps = [label for batch in trainer.predict(module, data) for label in batch]
    truths = [data.val_set.read(item)[1] for item in data.val_set.items]
    assert [m.shape for m in label_maps] == [t.shape for t in truths]
    pairs = list(zip(truths, label_maps, strict=True))
    correct = sum(int((t == m.numpy()).sum()) for t, m in pairs)
    labeled = sum(int((t != 255).sum()) for t in truths)
    assert scores["val/pixel_accuracy"] == pytest.approx(100 * correct / labeled, abs=1e-4)
    assert tested["test/mIoU"] == pytest.approx(scores["val/mIoU"])

    path = trainer.checkpoint_callback.best_model_path
    loaded = deeplab.SegmentationModule.load_from_checkpoint(path).eval()
    images = torch.randint(0, 256, (1, 3, 65, 49))
    assert torch.equal(loaded(images), module.eval()(images))
    assert loaded.class_names == tuple(data.classes.names)
    (again,) = make_trainer(tmp_path).validate(loaded, data, verbose=False)
    assert again["val/mIoU"] == scores["val/mIoU"]

    longer = make_trainer(tmp_path, max_epochs=3)
    longer.fit(make_module(data), data, ckpt_path=path)
    assert longer.global_step == 3 * 3


def test_the_batches_can_be_looked_at_after_a_training(tmp_path, data):
    before = [batch["image"] for batch in data.train_dataloader()]
    trainer = make_trainer(tmp_path, max_epochs=1, enable_progress_bar=False, logger=False)
    trainer.fit(make_module(data), data)
    after = [batch["image"] for batch in data.train_dataloader()]
    assert len(after) == 3
    assert all(map(torch.equal, after, before))


def test_a_checkpoint_makes_the_same_module_again(tmp_path, data):
    module = make_module(
        data,
        recipe=Recipe(max_steps=9, lr=0.02, ema_decay=0.9, batch_norm="frozen"),
        loss={"name": "top_k", "hard_pixel_fraction": 0.5},
        optimizer={"name": "adamw", "betas": (0.8, 0.9)},
        seed=4,
    )
    module.model.set_output_stride(8)
    trainer = make_trainer(tmp_path, max_steps=1, enable_progress_bar=False, logger=False)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    stored = torch.load(tmp_path / "mine.ckpt", weights_only=True)["hyper_parameters"]
    assert json.loads(json.dumps(stored)) == stored  # plain values
    loaded = deeplab.SegmentationModule.load_from_checkpoint(tmp_path / "mine.ckpt")
    assert loaded.arguments() == module.arguments()
    assert loaded.recipe == module.recipe
    assert loaded.optimizer_settings == module.optimizer_settings
    assert loaded.model.output_stride == 8
    states = loaded.state_dict(), module.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))
    other = deeplab.SegmentationModule.load_from_checkpoint(tmp_path / "mine.ckpt", seed=5)
    assert other.seed == 5


def test_a_network_put_together_by_hand_is_given_again(tmp_path, data):
    module = deeplab.SegmentationModule(tiny_model(7))
    trainer = make_trainer(tmp_path, max_steps=1, enable_progress_bar=False, logger=False)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    with pytest.raises(TypeError, match="model"):
        deeplab.SegmentationModule.load_from_checkpoint(tmp_path / "mine.ckpt")
    loaded = deeplab.SegmentationModule.load_from_checkpoint(
        tmp_path / "mine.ckpt", model=tiny_model(7)
    )
    images = torch.randint(0, 256, (1, 3, 65, 49))
    assert torch.equal(loaded.eval()(images), module.eval()(images))


OWN_CODE = """
from torch import nn
from torch.nn import functional as F


class Loss(nn.CrossEntropyLoss):
    def __init__(self):
        super().__init__(ignore_index=255)


class Net(nn.Module):
    out_channels, low_level = 8, {"conv2": (4, 4)}

    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, width, 1)

    def set_output_stride(self, output_stride):
        self.stride = output_stride

    def forward(self, x):
        x = self.first(x)
        low = x[..., ::4, ::4]
        return {"conv2": low, "output": self.last(x[..., :: self.stride, :: self.stride])}
"""


def test_classes_that_a_checkpoint_names_are_imported_if_it_is_trusted(tmp_path, monkeypatch, data):
    (tmp_path / "own_parts_of_a_test.py").write_text(OWN_CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("deeplab.utils.own_code.trust._trusted", set())
    target = "own_parts_of_a_test.{}".format
    model = deeplab.create_model("own", _target_=target("Net"), width=8, aspp="tiny", num_classes=7)
    loss = {"_target_": target("Loss")}
    module = deeplab.SegmentationModule(model, loss=loss, trust_remote_code=True)
    trainer = make_trainer(tmp_path, max_steps=1, enable_progress_bar=False, logger=False)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    load = deeplab.SegmentationModule.load_from_checkpoint
    monkeypatch.setattr("deeplab.utils.own_code.trust._trusted", set())
    with pytest.raises(deeplab.UserError, match="names code that this command would import"):
        load(tmp_path / "own.ckpt")
    loaded = load(tmp_path / "own.ckpt", trust_remote_code=True)
    images = torch.randint(0, 256, (1, 3, 65, 49))
    assert torch.equal(loaded.eval()(images), module.eval()(images))


def test_names_must_fit_the_network():
    with pytest.raises(deeplab.UserError, match="2 names, but the network has num_classes=5"):
        deeplab.SegmentationModule(tiny_model(5), class_names=["a", "b"])


@pytest.mark.parametrize("num_classes", [5, 9])
def test_data_must_have_as_many_classes_as_the_network(tmp_path, data, num_classes):
    model = deeplab.create_model("resnet_tiny", base_width=4, aspp="tiny", num_classes=num_classes)
    with pytest.raises(deeplab.UserError, match=f"num_classes={num_classes}: the data have 7"):
        make_trainer(tmp_path, max_steps=1).fit(deeplab.SegmentationModule(model), data)


def test_the_next_epoch_goes_on_with_the_next_draws():
    whole = list(TrainSampler(7, steps=8, batch_size=2, seed=1))
    epochs = TrainSampler(7, steps=4, batch_size=2, seed=1)
    parts = []
    for epoch in range(2):
        epochs.set_epoch(epoch)
        parts += list(epochs)
    assert parts == whole
    resumed = TrainSampler(7, steps=4, batch_size=2, seed=1, first_step=5)
    resumed.set_epoch(1)
    assert list(resumed) == whole[5:]


def test_padding_has_the_color_of_the_network(root):
    model = deeplab.create_model("resnet_tiny", base_width=4, mean=[10, 20, 30], aspp="tiny")
    data = deeplab.create_datamodule("shapes", root=root, model=model, overrides=SETTINGS)
    assert isinstance(data.val_set, SegmentationDataset)
    image = data.val_set[0].image
    assert np.array_equal(image[-1, -1], [10, 20, 30])


SCRIPT = """
import json, sys
import torch
from lightning import Trainer
import deeplab


def counts(root, devices, num_val, settings):
    data = deeplab.create_datamodule(
        "shapes", root=root, batch_size=6, overrides=[*settings, f"data.num_val={num_val}"]
    )
    torch.manual_seed(0)
    model = deeplab.create_model("resnet_tiny", base_width=4, aspp="tiny", num_classes=7)
    torch.nn.init.normal_(model.logits.weight)
    module = deeplab.SegmentationModule(model)
    trainer = Trainer(accelerator="cpu", devices=devices, max_epochs=2, logger=False)
    found = []
    finish = module._finish_scores

    def count(stage):
        found.append(module.confusion.compute().tolist())
        finish(stage)

    module._finish_scores = count
    trainer.validate(module, data, verbose=False)
    trainer.test(module, data, verbose=False)
    if devices > 1 and num_val > 1:
        trainer.fit(module, data)
    return found[:2] if trainer.is_global_zero else None


if __name__ == "__main__":
    if found := counts(*json.loads(sys.argv[1])):
        print(json.dumps(found))
"""


@pytest.mark.processes
@pytest.mark.parametrize("num_val", [5, 1])
def test_each_image_counts_once_on_several_devices(tmp_path, num_val):
    (tmp_path / "script.py").write_text(SCRIPT)
    settings = [s for s in SETTINGS if not s.startswith("data.num_val")]
    root = str(tmp_path / "data")
    done = subprocess.run(
        [sys.executable, "script.py", json.dumps([root, 2, num_val, settings])],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    script = runpy.run_path(str(tmp_path / "script.py"))
    assert json.loads(done.stdout.splitlines()[-1]) == script["counts"](root, 1, num_val, settings)
