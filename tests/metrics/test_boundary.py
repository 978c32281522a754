"""Scores near object borders against their definitions, pixel by pixel."""

import math
from itertools import product

import numpy as np
import pytest

from deeplab.evaluation.accumulator import ScoreAccumulator, score_image
from deeplab.metrics.boundary import F_TOLERANCE, IOU_WIDTH, band_of, compare, outlines

WIDTHS = (1, 1.5, 2, 4, 9)


def blobs(seed, classes=4, height=23, width=31, void=True):
    """A label map of rectangles, with borders of 255 around some."""
    generator = np.random.default_rng(seed)
    label = np.zeros((height, width), np.uint8)
    for _ in range(5):
        top, left = generator.integers(0, height - 5), generator.integers(0, width - 5)
        bottom, right = top + generator.integers(3, 12), left + generator.integers(3, 15)
        label[top:bottom, left:right] = generator.integers(0, classes)
        if void and generator.random() < 0.6:
            label[top:bottom, left] = 255
    return label


def distance_to(mask, y, x, metric):
    return min((metric(y - v, x - u) for v, u in np.argwhere(mask)), default=math.inf)


def euclid(a, b):
    return math.hypot(a, b)


def chessboard(a, b):
    return max(abs(a), abs(b))


@pytest.mark.parametrize("seed", range(3))
def test_bands_against_all_distances(seed):
    truth = blobs(seed)
    band = band_of(truth, WIDTHS)
    for y, x in product(*map(range, truth.shape)):
        if truth[y, x] == 255:
            continue
        distance = distance_to(truth == 255, y, x, euclid)
        assert band[y, x] == sum(distance > w + 1e-4 for w in WIDTHS)


def test_confusion_in_bands_against_counting():
    truth, prediction = blobs(0), blobs(1, void=False)
    (score,) = score_image(truth, [prediction], classes=4, widths=WIDTHS)
    expected = np.zeros((len(WIDTHS), 4, 4), int)
    whole = np.zeros((4, 4), int)
    for y, x in product(*map(range, truth.shape)):
        if truth[y, x] != 255:
            whole[truth[y, x], prediction[y, x]] += 1
            distance = distance_to(truth == 255, y, x, euclid)
            for i, width in enumerate(WIDTHS):
                expected[i, truth[y, x], prediction[y, x]] += distance <= width
    assert np.array_equal(score.bands, expected)
    assert np.array_equal(score.confusion, whole)


def contour(mask):
    points = set()
    for y, x in np.argwhere(mask):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1] and not mask[v, u]:
                points.add((y, x))
    return points


def brute_f(truth, prediction):
    tolerance = F_TOLERANCE * math.hypot(*truth.shape)
    theirs, ours = contour(truth), contour(prediction)
    if not theirs and not ours:
        return math.nan

    def near(points, others):
        if not points:
            return 0.0
        return sum(
            any(math.hypot(y - v, x - u) <= tolerance + 1e-4 for v, u in others) for y, x in points
        ) / len(points)

    precision, recall = near(ours, theirs), near(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def brute_inner(mask):
    """Pixels that erosion by a 3 x 3 square, repeated, takes away; all is background outside."""
    width = max(1, round(IOU_WIDTH * math.hypot(*mask.shape)))
    padded = np.pad(mask, width)
    inner = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        inner[y, x] = not padded[y : y + 2 * width + 1, x : x + 2 * width + 1].all()
    return inner


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(23, 31), (60, 101)])
def test_f_score_and_boundary_iou_against_their_definitions(seed, size):
    truth = blobs(seed, height=size[0], width=size[1], void=False)
    prediction = blobs(seed + 10, height=size[0], width=size[1], void=False)
    ours, theirs = outlines(prediction, range(4)), outlines(truth, range(4))
    for k in range(4):
        found = compare(theirs[k], ours[k])
        assert found.f == pytest.approx(brute_f(truth == k, prediction == k), nan_ok=True)
        a, b = brute_inner(truth == k), brute_inner(prediction == k)
        assert (found.intersection, found.union) == ((a & b).sum(), (a | b).sum())


def tally(pairs, classes=4):
    total = ScoreAccumulator(classes=classes, widths=WIDTHS)
    for i, (truth, prediction) in enumerate(pairs):
        (score,) = score_image(truth, [prediction], classes=classes, widths=WIDTHS)
        total.add(str(i), score)
    return total


def test_a_perfect_prediction():
    pairs = []
    for seed in range(3):
        truth = blobs(seed)
        pairs.append((truth, np.where(truth == 255, 3, truth).astype(np.uint8)))
    total = tally(pairs)
    report = total.boundary_report("abcd")
    assert total.scores.miou == 1
    assert report["boundary_IoU"] == report["F"] == 1
    assert all(band["mIoU"] == 1 for band in report["bands"])


def test_ignored_pixels_count_for_nothing_anywhere():
    truth, prediction = blobs(0), blobs(1, void=False)
    other = np.where(truth == 255, 3 - prediction, prediction).astype(np.uint8)
    reports = [tally([(truth, p)]).boundary_report("abcd") for p in (prediction, other)]
    assert str(reports[0]) == str(reports[1])


def test_masks_without_borders_have_no_bands():
    report = tally([(blobs(0, void=False), blobs(1, void=False))]).boundary_report("abcd")
    assert report["images_with_borders"] == 0
    assert report["bands"] == []
    assert 0 < report["boundary_IoU"] < 1


def test_bands_are_of_the_images_that_have_borders():
    with_borders = (blobs(0), blobs(1, void=False))
    without = (blobs(2, void=False), blobs(3, void=False))
    mixed, alone = tally([with_borders, without]), tally([with_borders])
    assert mixed.boundary_report("abcd")["images_with_borders"] == 1
    assert str(mixed.band_scores) == str(alone.band_scores)


def test_classes_that_occur_nowhere_have_no_score():
    report = tally([(blobs(0, classes=2), blobs(1, classes=2, void=False))]).boundary_report("abcd")
    assert math.isnan(report["class_boundary_IoU"]["d"])
    assert math.isnan(report["class_F"]["d"])
    assert not math.isnan(report["boundary_IoU"])


def test_predictions_together_are_those_alone():
    truth, predictions = blobs(0), [blobs(i, void=False) for i in (1, 2)]
    together = score_image(truth, predictions, classes=4, widths=WIDTHS)
    for prediction, score in zip(predictions, together, strict=True):
        (alone,) = score_image(truth, [prediction], classes=4, widths=WIDTHS)
        assert str(alone) == str(score)
