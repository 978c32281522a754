"""Errors and losses of classifiers, compared with direct computations."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deeplab.metrics.topk import TopKErrorMetric, ranks
from deeplab.training.losses import ClassificationLoss


def rank_by_sorting(logits, labels):
    """Return the rank of the best label after sorting the classes, lower index first if equal."""
    order = np.argsort(-logits, kind="stable").tolist()
    label_ranks = [order.index(k) for k in labels if k >= 0]
    return min(label_ranks) if label_ranks else -1


def random_batch(count=500, classes=12, max_labels=3, seed=0):
    """Draw logits with many ties, and one to three labels per image, but none for the last five."""
    rng = np.random.default_rng(seed)
    logits = rng.integers(-3, 4, (count, classes)).astype(np.float32)
    labels = np.full((count, max_labels), -1)
    for row in labels[: count - 5]:
        number = rng.integers(1, max_labels + 1)
        row[:number] = rng.choice(classes, number, replace=False)
    return logits, labels


@pytest.mark.parametrize("seed", range(3))
def test_ranks_equal_those_of_sorting(seed):
    logits, labels = random_batch(seed=seed)
    expected = [rank_by_sorting(*image) for image in zip(logits, labels, strict=True)]
    assert ranks(torch.from_numpy(logits), torch.from_numpy(labels)).tolist() == expected


def test_argmax_has_rank_zero():
    logits = torch.from_numpy(random_batch()[0])
    assert (ranks(logits, logits.argmax(1)[:, None]) == 0).all()


def test_constant_logits_are_not_rewarded():
    labels = torch.arange(20)[:, None]
    metric = TopKErrorMetric()
    metric.update(ranks(torch.zeros(20, 20), labels))
    assert metric.compute() == pytest.approx({"top1_error": 19 / 20, "top5_error": 15 / 20})


def test_nan_logits_count_as_errors():
    logits = torch.tensor([[math.nan] * 8, [0.0] * 7 + [math.nan]])
    assert ranks(logits, torch.tensor([[3], [0]])).tolist() == [7, 1]


def test_counts_are_exact_for_any_split_into_batches():
    logits, labels = random_batch()
    all_ranks = ranks(torch.from_numpy(logits), torch.from_numpy(labels))
    expected = np.array([rank_by_sorting(*image) for image in zip(logits, labels, strict=True)])
    expected = expected[expected >= 0]
    single, parts = TopKErrorMetric(), [TopKErrorMetric() for _ in range(3)]
    single.update(all_ranks)
    for i, batch_ranks in enumerate(all_ranks.split(7)):
        parts[i % 3].update(batch_ranks)
    images, wrong = sum(part.images for part in parts), sum(part.wrong for part in parts)
    assert int(images) == len(expected)
    assert wrong.tolist() == [(expected >= 1).sum(), (expected >= 5).sum()]
    assert single.compute() == pytest.approx(
        {"top1_error": (expected >= 1).mean(), "top5_error": (expected >= 5).mean()}
    )


def test_errors_without_images_are_nan():
    assert all(map(math.isnan, TopKErrorMetric().compute().values()))


def test_softmax_loss_equals_torchs_cross_entropy():
    logits, label = torch.randn(6, 9), torch.randint(0, 9, (6, 1))
    expected = F.cross_entropy(logits, label[:, 0])
    assert ClassificationLoss("softmax")(logits, label) == pytest.approx(float(expected))


def test_sigmoid_loss_and_gradient_equal_those_of_dense_targets():
    logits, labels = random_batch(count=40)
    targets = np.zeros_like(logits)
    for row, row_labels in zip(targets, labels, strict=True):
        row[row_labels[row_labels >= 0]] = 1
    sparse_input = torch.from_numpy(logits).requires_grad_()
    dense_input = torch.from_numpy(logits).requires_grad_()
    loss = ClassificationLoss("sigmoid")(sparse_input, torch.from_numpy(labels))
    terms = F.binary_cross_entropy_with_logits(
        dense_input, torch.from_numpy(targets), reduction="none"
    )
    expected = terms.sum(1).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(sparse_input.grad, dense_input.grad)
