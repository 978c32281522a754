"""Confusion matrices without their zeros, against matrices with them."""

import numpy as np
import pytest
import torch

from deeplab.metrics.confusion_matrix import ConfusionMatrix, scores
from deeplab.metrics.image_confusions import ImageConfusions, check_cells
from deeplab.metrics.iou import class_iou, correct_and_union, mean_over_classes


def draw(seed, images=7, classes=5):
    """Draw matrices with many zeros; the third image has no pixel, the last class never occurs."""
    rng = np.random.default_rng(seed)
    matrices = rng.integers(1, 1 << 31, (images, classes, classes))
    matrices *= rng.integers(0, 5, matrices.shape) == 0
    matrices[2], matrices[:, -1], matrices[:, :, -1] = 0, 0, 0
    return matrices


@pytest.mark.parametrize("seed", range(5))
def test_sums_are_those_of_the_matrices(seed):
    matrices = draw(seed)
    confusions = ImageConfusions.stack(matrices, 5)
    assert len(confusions) == 7
    assert np.array_equal([*confusions], matrices)
    assert np.array_equal(confusions[-1], matrices[-1])
    assert len(confusions.cells) == np.count_nonzero(matrices)
    correct, union = correct_and_union(matrices)
    for found, expected in (
        (confusions.total, matrices.sum(0)),
        (confusions.truth, matrices.sum(2)),
        (confusions.prediction, matrices.sum(1)),
        (confusions.correct, correct),
        (confusions.union, union),
        (confusions.pixels(1, 3), matrices[:, 1, 3]),
        ([*confusions.take([6, 0, 2, 0])], matrices[[6, 0, 2, 0]]),
    ):
        assert np.array_equal(found, expected)
    np.testing.assert_allclose(confusions.image_iou, mean_over_classes(class_iou(matrices)))
    check_cells(confusions.sizes, confusions.cells, 5)


def test_a_batch_has_the_matrix_of_each_of_its_images():
    generator = np.random.default_rng(0)
    truth, prediction = generator.integers(0, 4, (2, 3, 9, 7)).astype(np.uint8)
    truth[0, truth[0] == 2] = truth[1] = 255
    batch = ConfusionMatrix(5)
    batch.update(torch.from_numpy(prediction), torch.from_numpy(truth))
    for counts, *label_maps in zip(batch.image_counts, prediction, truth, strict=True):
        image = ConfusionMatrix(5)
        image.update(*map(torch.from_numpy, label_maps))
        assert torch.equal(counts, image.compute())
        (expected,) = ImageConfusions.stack([counts.numpy()], 5).image_iou
        assert scores(counts).miou == pytest.approx(expected, nan_ok=True)


def test_no_images():
    confusions = ImageConfusions.stack([], 3)
    assert (len(confusions), [*confusions], confusions.image_iou.shape) == (0, [], (0,))
    assert confusions.total.tolist() == np.zeros((3, 3)).tolist()
    check_cells(confusions.sizes, confusions.cells, 3)


def test_memory_does_not_grow_with_the_square_of_the_classes():
    matrix = np.zeros((200, 200))
    matrix[3:8, 4:9] = 7
    confusions = ImageConfusions.stack([matrix] * 100, 200)
    arrays = (confusions.sizes, confusions.cells, confusions.counts)
    assert sum(array.nbytes for array in arrays) <= 100 * (25 * 16 + 8)


@pytest.mark.parametrize(
    ("sizes", "cells"),
    [
        ([2, 1], [0, 1]),  # fewer than told
        ([1], [0, 1]),
        ([2], [1, 0]),  # not ascending
        ([2], [1, 1]),  # one twice
        ([1, 1], [0, 9]),  # of no matrix
    ],
)
def test_cells_of_no_matrices_are_refused(sizes, cells):
    with pytest.raises(ValueError, match="cells: "):
        check_cells(np.array(sizes), np.array(cells), 3)
