"""Training on several devices equals training on one, to rounding."""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from deeplab.config.schema.loss import CrossEntropySettings, TopKSettings
from deeplab.models.layers import PooledBatchNorm
from deeplab.training.losses import ClassificationLoss, SegmentationLoss
from support.devices import loss_and_gradient, normalize, run_on_devices
from support.pairs import label_map, write_image, write_mask
from support.scripts import run, run_folders

SMALL = (
    "data=folder", "data.crop_size=33", "data.eval_size=65", "backbone=resnet_tiny", "aspp=tiny",
    "decoder=tiny", "aspp.dropout=0", "stage=shapes", "stage.max_steps=5", "stage.batch_size=6",
    "stage.lr=0.01", "trainer.log_every_n_steps=1", "trainer.num_workers=0",
    "trainer.accelerator=cpu", "trainer.precision=64", "trainer.enable_progress_bar=false",
    "data.on_error=skip", "logger=csv",
)  # fmt: skip


def label_batch(kind):
    """Return logits and labels of six images, of which the first three have fewer labels."""
    generator = torch.Generator().manual_seed(0)
    if kind == "segmentation":
        logits = torch.randn(6, 4, 5, 5, generator=generator, dtype=torch.float64)
        labels = torch.randint(0, 4, (6, 17, 17), generator=generator).to(torch.uint8)
        labels[:2] = 255
        labels[2, :9] = 255
        return logits, labels
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (6, 1), generator=generator)
    labels[:2] = -1
    return logits, labels


LOSSES = {
    "pixels": ("segmentation", SegmentationLoss()),
    "weights": (
        "segmentation",
        SegmentationLoss(CrossEntropySettings(class_weights=(1.0, 0.2, 3.0, 0.5))),
    ),
    "hard pixels": ("segmentation", SegmentationLoss(TopKSettings(hard_pixel_fraction=0.2))),
    "softmax": ("classification", ClassificationLoss("softmax")),
    "sigmoid": ("classification", ClassificationLoss("sigmoid")),
}


def batch_norm_calls():
    norms = [nn.BatchNorm2d(3, momentum=0.2).double(), PooledBatchNorm(3, eps=0.1).double()]
    generator = torch.Generator().manual_seed(0)
    images, upstream = torch.randn(2, 6, 3, 5, 6, generator=generator, dtype=torch.float64)
    images[:2] += 100  # the devices differ
    for norm in norms:
        nn.init.uniform_(norm.weight, -2, 2, generator=generator)
    return [(norm, images, upstream) for norm in norms]


@pytest.fixture(scope="module")
def on_three_devices(tmp_path_factory):
    """Return the calls of each function, and what three processes return for them."""
    calls = {
        loss_and_gradient: [(loss, *label_batch(kind)) for kind, loss in LOSSES.values()],
        normalize: batch_norm_calls(),
    }
    flat = [(function, arguments) for function, each in calls.items() for arguments in each]
    results = iter(run_on_devices(3, tmp_path_factory.mktemp("devices"), flat))
    return {
        function: [(arguments, next(results)) for arguments in each]
        for function, each in calls.items()
    }


@pytest.mark.processes
def test_the_loss_is_that_of_the_whole_batch(on_three_devices):
    """One device has no label at all, and the devices differ in their number of labels."""
    for (loss, logits, labels), results in on_three_devices[loss_and_gradient]:
        whole = logits.clone().requires_grad_()
        expected = loss(whole, labels)
        expected.backward()
        for value, _ in results:
            torch.testing.assert_close(value, expected.detach(), rtol=1e-14, atol=0)
        gradient = torch.cat([part for _, part in results])
        torch.testing.assert_close(gradient, whole.grad, rtol=1e-13, atol=1e-16)
        assert gradient.abs().max() > 0


@pytest.mark.processes
def test_batch_norms_see_the_whole_batch(on_three_devices):
    for (norm, images, upstream), results in on_three_devices[normalize]:
        whole = images.clone().requires_grad_()
        output = norm.train()(whole)
        output.backward(upstream)
        close = {"rtol": 1e-9, "atol": 1e-12}
        for index, expected in ((0, output), (1, whole.grad), (5, norm.eval()(images))):
            parts = torch.cat([result[index] for result in results])
            torch.testing.assert_close(parts, expected.detach(), **close)
        for index, expected in ((2, norm.weight.grad), (3, norm.bias.grad)):
            summed = sum(result[index] for result in results)
            torch.testing.assert_close(summed, expected, **close)
        for result in results:
            torch.testing.assert_close(result[4], norm.state_dict(), **close)


def odd_folder(root):
    """Write seven training images, two without labels, one damaged, and one validation image."""
    for split, count in (("train", 7), ("val", 1)):
        for i in range(count):
            write_image(root / f"images/{split}/{i}.png", i)
            mask = label_map(i)
            mask[10 : 10 + 4 * i] = 255
            write_mask(root / f"masks/{split}/{i}.png", mask if i % 4 else np.full_like(mask, 255))
    write_mask(root / "masks/val/0.png", label_map(9))
    (root / "images/train/5.png").write_bytes(b"damaged")
    return root


def train(cwd, devices, parts, *overrides):
    """Train in float64, where rounding is 1e-16 and any other difference shows."""
    folder = cwd / f"{devices}-{parts}"
    folder.mkdir(parents=True)
    settings = (f"trainer.devices={devices}", f"trainer.accumulate_grad_batches={parts}")
    run("train", *SMALL, *overrides, *settings, cwd=folder)
    (run_folder,) = run_folders(folder)
    return run_folder


@pytest.mark.processes
@pytest.mark.parametrize(
    ("settings", "overrides"),
    [
        (
            ((1, 1), (2, 3)),
            ("stage.batch_norm=frozen", "loss.class_weights=[1,2,3]", "stage.ema_decay=0.9"),
        ),
        (
            ((1, 1), (2, 1)),
            ("stage.batch_norm=train", "loss=top_k", "loss.hard_pixel_fraction=0.3"),
        ),
        (
            ((1, 1), (2, 3)),
            ("stage.batch_norm=frozen", "loss=top_k", "loss.hard_pixel_fraction=0.3"),
        ),
    ],
)
def test_any_number_of_processes_and_parts_trains_the_same_weights(tmp_path, settings, overrides):
    """The only validation image is that of the first device; the others have none."""
    root = odd_folder(tmp_path / "images")
    runs = [train(tmp_path, *setting, f"data.root={root}", *overrides) for setting in settings]
    weights = [load_file(run / "weights.safetensors") for run in runs]
    rows = [list(csv.DictReader((run / "metrics.csv").open())) for run in runs]
    assert len({run.name for run in runs}) == 1
    skipped = [json.loads((run / "metrics.json").read_text())["skipped_files"] for run in runs]
    assert sum(skipped[0].values()) > 2
    assert all(counts == skipped[0] for counts in skipped)
    for other, other_rows in zip(weights[1:], rows[1:], strict=True):
        difference = max(
            (other[k].double() - weights[0][k].double()).abs().max() for k in weights[0]
        )
        print(f"{overrides}: largest difference {difference:.1e}")
        assert difference < 1e-12
        for row, expected in zip(other_rows, rows[0], strict=True):
            loss, expected_loss = (float(r["train/loss"] or 0) for r in (row, expected))
            assert loss == pytest.approx(expected_loss, rel=1e-12)
            assert row["val/mIoU"] == expected["val/mIoU"]
