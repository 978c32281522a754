"""Scores near object borders, compared with their definitions pixel by pixel."""

import math
from itertools import product

import numpy as np
import pytest

from deeplab.evaluation.accumulator import ScoreAccumulator, score_image
from deeplab.metrics.boundary import (
    F_TOLERANCE,
    IOU_WIDTH,
    band_indices,
    class_outlines,
    score_boundary,
)

WIDTHS = (1, 1.5, 2, 4, 9)


def random_rectangles(seed, classes=4, height=23, width=31, ignored=True):
    """Draw a label map of rectangles, some of them with a border of 255."""
    generator = np.random.default_rng(seed)
    label = np.zeros((height, width), np.uint8)
    for _ in range(5):
        top, left = generator.integers(0, height - 5), generator.integers(0, width - 5)
        bottom, right = top + generator.integers(3, 12), left + generator.integers(3, 15)
        label[top:bottom, left:right] = generator.integers(0, classes)
        if ignored and generator.random() < 0.6:
            label[top:bottom, left] = 255
    return label


def distance_to(mask, y, x, metric):
    return min((metric(y - v, x - u) for v, u in np.argwhere(mask)), default=math.inf)


def euclidean(dy, dx):
    return math.hypot(dy, dx)


@pytest.mark.parametrize("seed", range(3))
def test_bands_match_all_distances(seed):
    truth = random_rectangles(seed)
    band = band_indices(truth, WIDTHS)
    for y, x in product(*map(range, truth.shape)):
        if truth[y, x] == 255:
            continue
        distance = distance_to(truth == 255, y, x, euclidean)
        assert band[y, x] == sum(distance > w + 1e-4 for w in WIDTHS)


def test_confusion_matrices_of_bands_match_counting():
    truth, prediction = random_rectangles(0), random_rectangles(1, ignored=False)
    (score,) = score_image(truth, [prediction], classes=4, widths=WIDTHS)
    expected = np.zeros((len(WIDTHS), 4, 4), int)
    full_image = np.zeros((4, 4), int)
    for y, x in product(*map(range, truth.shape)):
        if truth[y, x] != 255:
            full_image[truth[y, x], prediction[y, x]] += 1
            distance = distance_to(truth == 255, y, x, euclidean)
            for i, width in enumerate(WIDTHS):
                expected[i, truth[y, x], prediction[y, x]] += distance <= width
    assert np.array_equal(score.bands, expected)
    assert np.array_equal(score.confusion, full_image)


def reference_contour(mask):
    points = set()
    for y, x in np.argwhere(mask):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1] and not mask[v, u]:
                points.add((y, x))
    return points


def reference_f_score(truth, prediction):
    tolerance = F_TOLERANCE * math.hypot(*truth.shape)
    true_contour, predicted_contour = reference_contour(truth), reference_contour(prediction)
    if not true_contour and not predicted_contour:
        return math.nan

    def fraction_within(points, targets):
        if not points:
            return 0.0
        return sum(
            any(math.hypot(y - v, x - u) <= tolerance + 1e-4 for v, u in targets) for y, x in points
        ) / len(points)

    precision = fraction_within(predicted_contour, true_contour)
    recall = fraction_within(true_contour, predicted_contour)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def reference_inner_band(mask):
    """Return the pixels that repeated erosion by a 3 x 3 square removes.

    Pixels outside the image are background.
    """
    width = max(1, round(IOU_WIDTH * math.hypot(*mask.shape)))
    padded = np.pad(mask, width)
    inner = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        inner[y, x] = not padded[y : y + 2 * width + 1, x : x + 2 * width + 1].all()
    return inner


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(23, 31), (60, 101), (150, 230)])
def test_f_score_and_boundary_iou_match_their_definitions(seed, size):
    truth = random_rectangles(seed, height=size[0], width=size[1], ignored=False)
    prediction = random_rectangles(seed + 10, height=size[0], width=size[1], ignored=False)
    predicted_outlines = class_outlines(prediction, range(4))
    true_outlines = class_outlines(truth, range(4))
    for k in range(4):
        score = score_boundary(true_outlines[k], predicted_outlines[k])
        expected = reference_f_score(truth == k, prediction == k)
        assert score.f_score == pytest.approx(expected, nan_ok=True)
        a, b = reference_inner_band(truth == k), reference_inner_band(prediction == k)
        assert (score.intersection, score.union) == ((a & b).sum(), (a | b).sum())


def accumulate(pairs, classes=4):
    accumulator = ScoreAccumulator(classes=classes, widths=WIDTHS)
    for i, (truth, prediction) in enumerate(pairs):
        (score,) = score_image(truth, [prediction], classes=classes, widths=WIDTHS)
        accumulator.add(str(i), score)
    return accumulator


def test_perfect_prediction():
    pairs = []
    for seed in range(3):
        truth = random_rectangles(seed)
        pairs.append((truth, np.where(truth == 255, 3, truth).astype(np.uint8)))
    accumulator = accumulate(pairs)
    report = accumulator.boundary_result("abcd")
    assert accumulator.scores.miou == 1
    assert report.scores == {"boundary_F": 100, "boundary_IoU": 100}
    assert all(band.scores["mIoU"] == 100 for band in report.bands)


def test_predictions_at_ignored_pixels_do_not_matter():
    truth, prediction = random_rectangles(0), random_rectangles(1, ignored=False)
    changed = np.where(truth == 255, 3 - prediction, prediction).astype(np.uint8)
    reports = [accumulate([(truth, p)]).boundary_result("abcd") for p in (prediction, changed)]
    assert str(reports[0]) == str(reports[1])


def test_masks_without_borders_have_no_bands():
    pair = (random_rectangles(0, ignored=False), random_rectangles(1, ignored=False))
    report = accumulate([pair]).boundary_result("abcd")
    assert report.images_with_borders == 0
    assert report.bands == ()
    assert 0 < report.scores["boundary_IoU"] < 100


def test_bands_include_only_images_with_borders():
    with_borders = (random_rectangles(0), random_rectangles(1, ignored=False))
    without = (random_rectangles(2, ignored=False), random_rectangles(3, ignored=False))
    mixed, only_with_borders = accumulate([with_borders, without]), accumulate([with_borders])
    assert mixed.boundary_result("abcd").images_with_borders == 1
    assert str(mixed.band_scores) == str(only_with_borders.band_scores)


def test_absent_classes_have_no_score():
    truth = random_rectangles(0, classes=2)
    prediction = random_rectangles(1, classes=2, ignored=False)
    report = accumulate([(truth, prediction)]).boundary_result("abcd")
    assert math.isnan(report.class_boundary_IoU["d"])
    assert math.isnan(report.class_boundary_F["d"])
    assert not math.isnan(report.scores["boundary_IoU"])


def test_several_predictions_equal_single_ones():
    truth = random_rectangles(0)
    predictions = [random_rectangles(i, ignored=False) for i in (1, 2)]
    joint = score_image(truth, predictions, classes=4, widths=WIDTHS)
    for prediction, score in zip(predictions, joint, strict=True):
        (separate,) = score_image(truth, [prediction], classes=4, widths=WIDTHS)
        assert str(separate) == str(score)
