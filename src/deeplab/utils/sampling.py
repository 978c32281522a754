"""Sampling of a few items of a long list."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def sample_evenly(items: Sequence[T], max_items: int) -> list[T]:
    """Return at most ``max_items`` items, one of each of as many equal parts, in order.

    Which one of a part is drawn at random, the same at every call: every tenth of the frames of a
    video or of the tiles of a map may be of one kind.
    """
    count = len(items)
    if count <= max_items:
        return list(items)
    bounds = [part * count // max_items for part in range(max_items + 1)]
    draws = np.random.default_rng(0).integers(bounds[:-1], bounds[1:])
    return [items[index] for index in draws.tolist()]
