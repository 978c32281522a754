"""Overlapping windows over an image that is too large for memory, and the weights that blend them.

Windows are evenly spaced, the last ones aligned with the image's edges. Where they overlap, the
probabilities are averaged with weights that fall linearly to nearly 0 at a window's edges, so the
result has no seams. The weight of a pixel is the product of its weights along both sides.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from deeplab.inference.strategy import Window


class Span(NamedTuple):
    """Pixels of a window along one side of the image."""

    start: int
    end: int
    weights: Tensor
    """Weight of each pixel ``(end - start,)``; those of all windows add up to 1."""


def window_spans(length: int, window: Window | None = None) -> list[Span]:
    """Return the windows along a side of the image; a single one if it covers the side."""
    if window is None or length <= window.size:
        return [Span(0, length, torch.ones(length))]
    step = max(1, int(window.size * (1 - window.overlap)))
    count = -(-(length - window.size) // step) + 1
    starts = [round(i * (length - window.size) / (count - 1)) for i in range(count)]
    pixels = torch.arange(window.size)
    ramp = torch.minimum(pixels, pixels.flip(0)) + 1.0  # above 0 at the ends
    total = torch.zeros(length)
    for start in starts:
        total[start : start + window.size] += ramp
    spans = [(start, start + window.size) for start in starts]
    return [Span(start, end, ramp / total[start:end]) for start, end in spans]
