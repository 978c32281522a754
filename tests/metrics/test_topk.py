"""Errors and losses of classifiers against literal ones."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deeplab.metrics.topk import TopErrors, ranks
from deeplab.training.losses import ClassificationLoss


def literal_rank(logits, labels):
    """The place of the best label when classes are sorted, the lower index first where equal."""
    order = np.argsort(-logits, kind="stable").tolist()
    places = [order.index(k) for k in labels if k >= 0]
    return min(places) if places else -1


def many(count=500, classes=12, most=3, seed=0):
    """Logits with many ties, and one to three labels each, none for some."""
    rng = np.random.default_rng(seed)
    logits = rng.integers(-3, 4, (count, classes)).astype(np.float32)
    labels = np.full((count, most), -1)
    for row in labels[: count - 5]:
        number = rng.integers(1, most + 1)
        row[:number] = rng.choice(classes, number, replace=False)
    return logits, labels


@pytest.mark.parametrize("seed", range(3))
def test_ranks_against_sorting(seed):
    logits, labels = many(seed=seed)
    expected = [literal_rank(*each) for each in zip(logits, labels, strict=True)]
    assert ranks(torch.from_numpy(logits), torch.from_numpy(labels)).tolist() == expected


def test_the_first_place_is_the_arg_max():
    logits, _ = many()
    found = torch.from_numpy(logits)
    assert (ranks(found, found.argmax(1)[:, None]) == 0).all()


def test_a_network_that_tells_nothing_apart_gains_nothing():
    labels = torch.arange(20)[:, None]
    tally = TopErrors()
    tally.update(ranks(torch.zeros(20, 20), labels))
    assert tally.compute() == pytest.approx((19 / 20, 15 / 20))


def test_logits_that_are_no_numbers_are_wrong():
    logits = torch.tensor([[math.nan] * 8, [0.0] * 7 + [math.nan]])
    assert ranks(logits, torch.tensor([[3], [0]])).tolist() == [7, 1]


def test_errors_are_counted_exactly_however_they_are_split():
    logits, labels = many()
    places = ranks(torch.from_numpy(logits), torch.from_numpy(labels))
    known = np.array([literal_rank(*each) for each in zip(logits, labels, strict=True)])
    known = known[known >= 0]
    whole, parts = TopErrors(), [TopErrors() for _ in range(3)]
    whole.update(places)
    for i, place in enumerate(places.split(7)):
        parts[i % 3].update(place)
    counted = sum(part.pictures for part in parts), sum(part.wrong for part in parts)
    assert int(counted[0]) == len(known)
    assert counted[1].tolist() == [(known >= 1).sum(), (known >= 5).sum()]
    assert whole.compute() == pytest.approx(((known >= 1).mean(), (known >= 5).mean()))


def test_no_picture_has_no_error():
    assert all(map(math.isnan, TopErrors().compute()))


def test_softmax_is_torch_s():
    logits, label = torch.randn(6, 9), torch.randint(0, 9, (6, 1))
    expected = F.cross_entropy(logits, label[:, 0])
    assert ClassificationLoss("softmax")(logits, label) == pytest.approx(float(expected))


def test_sigmoid_against_dense_targets_and_their_gradient():
    logits, labels = many(count=40)
    dense = np.zeros_like(logits)
    for row, known in zip(dense, labels, strict=True):
        row[known[known >= 0]] = 1
    ours = torch.from_numpy(logits).requires_grad_()
    theirs = torch.from_numpy(logits).requires_grad_()
    loss = ClassificationLoss("sigmoid")(ours, torch.from_numpy(labels))
    every = F.binary_cross_entropy_with_logits(theirs, torch.from_numpy(dense), reduction="none")
    expected = every.sum(1).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
