"""Overlapping windows over an image that is too large for memory, and their blending.

Windows are evenly spaced, the last ones aligned with the image's edges. Where they overlap, the
probabilities are averaged with weights that fall linearly to nearly 0 at a window's edges, so the
result has no seams.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from deeplab.inference.strategy import Window

PredictWindow = Callable[[Tensor], Tensor]
"""Function from a window of the image ``(1, 3, h, w)`` to its scores ``(..., h, w)``."""


def window_positions(length: int, window: Window) -> list[int]:
    """Return the first pixel of each window along a side; only 0 if one window covers it."""
    if length <= window.size:
        return [0]
    step = max(1, int(window.size * (1 - window.overlap)))
    count = -(-(length - window.size) // step) + 1
    return [round(i * (length - window.size) / (count - 1)) for i in range(count)]


def blend_windows(
    image: Tensor, window: Window, predict: PredictWindow
) -> Iterator[tuple[int, Tensor]]:
    """Yield the weighted mean over the windows in chunks of rows, from top to bottom.

    Only one row of windows is in memory at a time.

    Args:
        image: ``(1, 3, H, W)``.
        window: size and overlap of the windows.
        predict: computes the scores of one window.

    Yields:
        The first row of each chunk, and the chunk ``(..., rows, W)``.
    """
    height, width = image.shape[-2:]
    tops, lefts = window_positions(height, window), window_positions(width, window)
    window_height, window_width = min(height, window.size), min(width, window.size)
    weights = torch.outer(_ramp(window_height, image), _ramp(window_width, image))  # (h, w)
    row_weights = sum(_pad_to_width(weights, left, width) for left in lefts)  # (h, W)
    total, norm = None, torch.zeros(window_height, width, device=image.device)
    for top, next_top in zip(tops, [*tops[1:], height], strict=True):
        for left in lefts:
            scores = predict(image[..., top : top + window_height, left : left + window_width])
            if total is None:
                total = scores.new_zeros(*scores.shape[:-1], width)
            total[..., left : left + window_width] += scores * weights
        norm = norm + row_weights
        rows = next_top - top  # the windows below do not reach these
        assert total is not None
        yield top, total[..., :rows, :] / norm[:rows]
        total, norm = _shift_up(total, rows), _shift_up(norm, rows)


def _ramp(side: int, like: Tensor) -> Tensor:
    """Return a weight for each pixel along a side: largest in the middle, above 0 at the ends."""
    pixels = torch.arange(side, device=like.device)
    return (torch.minimum(pixels, side - 1 - pixels) + 1) / side


def _pad_to_width(weights: Tensor, left: int, width: int) -> Tensor:
    """Return a window's weights at its position in a row of windows, with zeros around them."""
    padded = weights.new_zeros(weights.shape[0], width)
    padded[:, left : left + weights.shape[1]] = weights
    return padded


def _shift_up(rows: Tensor, offset: int) -> Tensor:
    """Return the rows moved up, followed by zeros."""
    shifted = torch.zeros_like(rows)
    shifted[..., : rows.shape[-2] - offset, :] = rows[..., offset:, :]
    return shifted
