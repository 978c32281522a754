"""Losses of upsampled logits, compared with definitions written out pixel by pixel."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deeplab.config.schema.loss import (
    CrossEntropySettings,
    DiceSettings,
    FocalSettings,
    LovaszSettings,
    SumSettings,
)
from deeplab.training.losses import SegmentationLoss
from deeplab.training.upsampled_losses import build_loss
from deeplab.utils.own_code.node import OwnCode
from deeplab.utils.own_code.trust import trust

CLASSES = 4


def example(dtype=torch.float64):
    """Return logits and labels: ignored pixels, an absent class, an image without a label."""
    torch.manual_seed(0)
    logits = torch.randn(3, CLASSES, 5, 4, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, CLASSES - 1, (3, 9, 7), dtype=torch.uint8)
    labels[torch.rand(3, 9, 7) < 0.3] = 255
    labels[2] = 255
    return logits, labels


def pixels(logits, labels):
    """Yield the probabilities ``(P, K)`` and labels ``(P,)`` of the labeled pixels of an image."""
    upsampled = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=True)
    for image, label in zip(upsampled.softmax(1), labels.long(), strict=True):
        kept = label != 255
        yield image[:, kept].T, label[kept]


def dice(logits, labels, average):
    total = 0.0
    for probabilities, label in pixels(logits, labels):
        if not len(label):
            continue
        truth = F.one_hot(label, CLASSES).to(probabilities.dtype)
        if average == "micro":
            total += 1 - 2 * (probabilities * truth).sum() / (probabilities + truth).sum()
            continue
        scores = 2 * (probabilities * truth).sum(0) / (probabilities + truth).sum(0)
        total += 1 - scores[truth.sum(0) > 0].mean()
    return total / len(labels)


def focal(logits, labels, gamma):
    losses = [
        -((1 - p) ** gamma) * p.log()
        for probabilities, label in pixels(logits, labels)
        for p in probabilities[torch.arange(len(label)), label]
    ]
    return sum(losses) / len(losses)


def lovasz(logits, labels):
    """Return the Lovasz extension of the Jaccard loss as a sum over the sorted errors."""
    total = 0.0
    for probabilities, label in pixels(logits, labels):
        present = label.unique().tolist()
        for k in present:
            truth = label == k
            errors = (truth.to(probabilities.dtype) - probabilities[:, k]).abs()
            wrong: set[int] = set()
            jaccard = 0.0
            for i in errors.argsort(descending=True).tolist():
                wrong.add(i)
                missed = {j for j in wrong if truth[j]}
                union = int(truth.sum()) + len(wrong) - len(missed)
                now = 1 - (int(truth.sum()) - len(missed)) / union
                total += errors[i] * (now - jaccard) / len(present)
                jaccard = now
    return total / len(labels)


CASES = {
    "dice macro": (DiceSettings(), lambda x, y: dice(x, y, "macro")),
    "dice micro": (DiceSettings(average="micro"), lambda x, y: dice(x, y, "micro")),
    "focal": (FocalSettings(gamma=1.5), lambda x, y: focal(x, y, 1.5)),
    "lovasz": (LovaszSettings(), lovasz),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name):
    pytest.importorskip("kornia")
    settings, reference = CASES[name]
    loss, (logits, labels) = build_loss(settings), example()
    value, expected = loss(logits, labels), reference(logits, labels)
    torch.testing.assert_close(value, expected)
    gradients = [torch.autograd.grad(v, logits)[0] for v in (value, expected)]
    torch.testing.assert_close(*gradients)
    assert not gradients[0][2].any()


@pytest.mark.parametrize("name", CASES)
def test_a_batch_without_labels_is_zero(name):
    pytest.importorskip("kornia")
    logits, labels = example(torch.float32)
    value = build_loss(CASES[name][0])(logits, torch.full_like(labels, 255))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize("name", CASES)
def test_the_losses_of_parts_add_up(name):
    pytest.importorskip("kornia")
    loss, (logits, labels) = build_loss(CASES[name][0]), example()
    assert loss.adds_up(0)
    parts = zip(logits.split(2), labels.split(2), strict=True)
    values = loss(logits, labels), sum(loss(*part, all_labels=labels) for part in parts)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(value, logits)[0] for value in values))


def test_half_precision_is_computed_in_float32():
    pytest.importorskip("kornia")
    logits, labels = example(torch.float32)
    low = logits.detach().bfloat16()
    for settings, _ in CASES.values():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = build_loss(settings)(low, labels)
        torch.testing.assert_close(value, build_loss(settings)(low.float(), labels))
        assert value.dtype == torch.float32


def test_focal_without_gamma_is_the_cross_entropy():
    pytest.importorskip("kornia")
    logits, labels = example()
    expected = SegmentationLoss()(logits, labels)
    torch.testing.assert_close(build_loss(FocalSettings(gamma=0.0))(logits, labels), expected)


def test_a_sum_adds_its_terms():
    logits, labels = example()
    trust(["torch.nn.CrossEntropyLoss"])
    terms = {
        "fused": {"weight": 0.5, "loss": {"name": "cross_entropy"}},
        "own": {"weight": 2.0, "loss": {"_target_": "torch.nn.CrossEntropyLoss"}},
    }
    loss = build_loss(SumSettings(terms=terms))
    fused = SegmentationLoss(CrossEntropySettings())(logits, labels)
    torch.testing.assert_close(loss(logits, labels), 2.5 * fused)
    assert not loss.adds_up(0)
    fused_only = SumSettings(terms={"fused": terms["fused"]})
    assert build_loss(fused_only).adds_up(0)


def test_an_own_loss_gets_the_label_of_ignored_pixels():
    """Torch's cross-entropy, whose own default is -100, equals the fused one."""
    logits, labels = example()
    trust(["torch.nn.CrossEntropyLoss"])
    own = build_loss(OwnCode(**{"_target_": "torch.nn.CrossEntropyLoss"}))
    assert isinstance(own.loss, nn.CrossEntropyLoss)
    torch.testing.assert_close(own(logits, labels), SegmentationLoss()(logits, labels))
