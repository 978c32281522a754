import math

import pytest
import torch

from deeplab.metrics.confusion_matrix import ConfusionMatrix, scores


def iou_of_sets(pairs, num_classes):
    """Return the IoU of each class from sets of pixels over all images."""
    truth_sets = [set() for _ in range(num_classes)]
    predicted_sets = [set() for _ in range(num_classes)]
    for n, (prediction, truth) in enumerate(pairs):
        for index in range(truth.numel()):
            label = int(truth.flatten()[index])
            if label != 255:
                truth_sets[label].add((n, index))
                predicted_sets[int(prediction.flatten()[index])].add((n, index))
    ious = []
    for t, p in zip(truth_sets, predicted_sets, strict=True):
        ious.append(len(t & p) / len(t | p) if t | p else None)
    return ious


def random_pairs(classes, count=3):
    torch.manual_seed(0)
    for _ in range(count):
        truth = torch.randint(0, classes, (2, 9, 11), dtype=torch.uint8)
        prediction = torch.where(torch.rand(2, 9, 11) < 0.7, truth, (truth + 1) % classes)
        truth[torch.rand(2, 9, 11) < 0.2] = 255
        yield prediction, truth


def test_iou_equals_that_of_sets_with_absent_classes_and_ignored_pixels():
    pairs = list(random_pairs(4))  # classes 4 and 5 occur nowhere
    metric = ConfusionMatrix(6)
    for prediction, truth in pairs:
        metric.update(prediction, truth)
    result = scores(metric.compute())
    expected = iou_of_sets(pairs, 6)
    assert [None if math.isnan(i) else i for i in result.class_iou] == [
        None if e is None else pytest.approx(e) for e in expected
    ]
    present = [e for e in expected if e is not None]
    assert len(present) == 4
    assert result.miou == pytest.approx(sum(present) / 4)


def test_class_that_is_only_predicted_has_iou_zero():
    metric = ConfusionMatrix(3)
    metric.update(torch.tensor([0, 0, 2]), torch.tensor([0, 0, 0]))
    result = scores(metric.compute())
    assert result.class_iou[0] == pytest.approx(2 / 3)
    assert result.class_iou[2] == 0
    assert result.miou == pytest.approx(1 / 3)
    assert result.values["pixel_accuracy"] == pytest.approx(2 / 3)


def test_batches_are_added_to_one_matrix():
    pairs = list(random_pairs(4, count=5))
    by_batch = ConfusionMatrix(4)
    for prediction, truth in pairs:
        by_batch.update(prediction, truth)
    at_once = ConfusionMatrix(4)
    at_once.update(torch.cat([p for p, _ in pairs]), torch.cat([t for _, t in pairs]))
    assert torch.equal(by_batch.compute(), at_once.compute())


def test_miou_without_labeled_pixels_is_nan():
    metric = ConfusionMatrix(3)
    metric.update(torch.zeros(4, dtype=torch.uint8), torch.full((4,), 255))
    assert math.isnan(scores(metric.compute()).miou)


def test_rows_are_truth():
    metric = ConfusionMatrix(2)
    metric.update(torch.tensor([1]), torch.tensor([0]))
    assert metric.compute().tolist() == [[0, 1], [0, 0]]
