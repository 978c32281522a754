"""Overlapping windows over an image that is too large for memory, and their blending.

Windows lie at even distances, the last ones flush with the image's edges. Where they overlap, the
probabilities are averaged with weights that fall linearly to nearly 0 at a window's edges, so that
no window begins or ends with a step: there are no seams.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from deeplab.inference.strategy import Window

Mix = Callable[[Tensor], Tensor]
"""A cut image ``(1, 3, h, w)`` to what is blended, ``(..., h, w)``."""


def starts(length: int, window: Window) -> list[int]:
    """Where windows begin along a side of the image; one at 0 if it is no longer than a window."""
    if length <= window.size:
        return [0]
    step = max(1, int(window.size * (1 - window.overlap)))
    count = -(-(length - window.size) // step) + 1
    return [round(i * (length - window.size) / (count - 1)) for i in range(count)]


def blended(image: Tensor, window: Window, mix: Mix) -> Iterator[tuple[int, Tensor]]:
    """The weighted mean over the windows, from top to bottom: the first row of each band, and the
    band ``(..., rows, W)``. No more than one row of windows is alive at a time.

    Args:
        image: ``(1, 3, H, W)``.
        window: size and overlap of the windows.
        mix: what is averaged.
    """
    height, width = image.shape[-2:]
    tops, lefts = starts(height, window), starts(width, window)
    side_y, side_x = min(height, window.size), min(width, window.size)
    weights = torch.outer(_ramp(side_y, image), _ramp(side_x, image))  # (h, w)
    across = sum(_placed(weights, left, width) for left in lefts)  # (h, W)
    total, norm = None, torch.zeros(side_y, width, device=image.device)
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        for left in lefts:
            part = mix(image[..., top : top + side_y, left : left + side_x])
            if total is None:
                total = part.new_zeros(*part.shape[:-1], width)
            total[..., left : left + side_x] += part * weights
        norm = norm + across
        rows = following - top  # no window further down reaches these
        assert total is not None
        yield top, total[..., :rows, :] / norm[:rows]
        total, norm = _shifted(total, rows), _shifted(norm, rows)


def _ramp(side: int, like: Tensor) -> Tensor:
    """A weight for each pixel along a side: largest in the middle, above 0 at the ends."""
    pixels = torch.arange(side, device=like.device)
    return (torch.minimum(pixels, side - 1 - pixels) + 1) / side


def _placed(weights: Tensor, left: int, width: int) -> Tensor:
    placed = weights.new_zeros(weights.shape[0], width)
    placed[:, left : left + weights.shape[1]] = weights
    return placed


def _shifted(rows: Tensor, by: int) -> Tensor:
    """The rows moved up, zeros following."""
    moved = torch.zeros_like(rows)
    moved[..., : rows.shape[-2] - by, :] = rows[..., by:, :]
    return moved
