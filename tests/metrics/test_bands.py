"""Tests of where the bands of the trimap curve are measured from."""

import cv2
import numpy as np
import pytest

from deeplab.evaluation.accumulator import ScoreAccumulator, score_image
from deeplab.metrics.boundary import band_indices, find_bands
from deeplab.utils.constants import IGNORE


def shapes(border=0):
    """Return two touching objects on a background; ``border`` is the width of ignored lines."""
    label = np.zeros((60, 80), np.uint8)
    label[10:40, 10:40] = 1
    label[20:50, 40:70] = 2
    if border:
        kernel = np.ones((border, border), np.uint8)
        label[cv2.dilate(label, kernel) != cv2.erode(label, kernel)] = IGNORE
    return label


def with_area(label, share=0.3):
    """Ignore a part of the image, as with regions that nobody has labeled."""
    label = label.copy()
    label[: int(share * label.shape[0])] = IGNORE
    return label


def large(label):
    """Return a label map ten times as large, as of a photo."""
    return cv2.resize(label, None, fx=10, fy=10, interpolation=cv2.INTER_NEAREST)


def scribbles():
    """Return a map of which only some lines are labeled."""
    label = np.full((60, 80), IGNORE, np.uint8)
    label[5, 10:70] = 1
    label[50, 10:70] = 2
    return label


@pytest.mark.parametrize(
    ("label_maps", "bands"),
    [
        ([shapes(border=3)], "void"),
        ([shapes(border=5), np.zeros((9, 9), np.uint8)], "void"),
        ([shapes(border=5), with_area(shapes(border=5), 0.1)], "void"),
        ([large(shapes(border=5)), large(with_area(shapes(border=5), 0.8))], "void"),
        ([shapes()], "label borders"),
        ([with_area(shapes())], "label borders"),
        ([shapes(border=3), *[shapes()] * 3], "label borders"),
        ([scribbles()], "label borders"),
        ([np.full((9, 9), IGNORE, np.uint8)], "label borders"),
        ([], "label borders"),
    ],
)
def test_void_counts_only_where_it_lies_along_borders(label_maps, bands):
    assert find_bands(label_maps) == bands


def test_distance_to_the_nearest_pixel_across_a_border():
    """A border between columns 4 and 5: columns 4 and 5 are one pixel from it, 3 and 6 two."""
    truth = np.zeros((8, 10), np.uint8)
    truth[:, 5:] = 1
    index = band_indices(truth, [1, 2, 4], "label borders")
    assert index[3].tolist() == [3, 2, 2, 1, 0, 0, 1, 2, 2, 3]


def test_borders_of_ignored_areas_are_no_borders_between_classes():
    truth = np.zeros((8, 10), np.uint8)
    truth[:, 5:] = IGNORE
    assert band_indices(truth, [1, 2], "label borders") is None
    assert band_indices(truth, [1, 2], "void")[0].tolist() == [2, 2, 2, 1, 0, 0, 0, 0, 0, 0]


def test_scores_in_bands_from_label_borders():
    truth = shapes()
    wrong_far_away = truth.copy()
    wrong_far_away[0, 0] = 1
    accumulator = ScoreAccumulator(classes=3, widths=[1, 100])
    scores = score_image(truth, [wrong_far_away], classes=3, widths=[1, 100], bands="label borders")
    accumulator.add("a", scores[0])
    (_, narrow), (_, wide) = accumulator.band_scores
    assert narrow.values["mIoU"] == 1.0
    assert wide.values["mIoU"] < 1.0
