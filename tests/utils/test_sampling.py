"""Samples of long lists."""

import numpy as np
import pytest

from deeplab.utils.sampling import sample_evenly


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 100, 101, 1000])
@pytest.mark.parametrize("most", [1, 3, 100])
def test_each_part_has_one(count, most):
    items = list(range(count))
    sample = sample_evenly(items, most)
    assert sample == sample_evenly(items, most)
    if count <= most:
        assert sample == items
    else:
        bounds = [part * count // most for part in range(most + 1)]
        parts = zip(bounds[:-1], bounds[1:], sample, strict=True)
        assert all(start <= item < end for start, end, item in parts)


@pytest.mark.parametrize("period", [2, 3, 4, 10, 50])
def test_periods_of_the_items_are_no_periods_of_the_sample(period):
    kinds = np.bincount([i % period for i in sample_evenly(range(18_000), 100)], minlength=period)
    assert kinds.max() <= 3 + 2.5 * 100 / period
