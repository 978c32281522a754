"""Class names with their colours."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class LabelSet(NamedTuple):
    """The classes of a data set: the name of each index, and the colour it is painted in."""

    names: tuple[str, ...]
    palette: NDArray[np.uint8]  # (256, 3), RGB

    def __len__(self) -> int:
        return len(self.names)


def voc_palette() -> NDArray[np.uint8]:
    """The VOC colour map ``(256, 3)``: the bits of an index, dealt out to the high bits of red,
    green and blue in turn."""
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for colour in range(3):
            palette[:, colour] |= (((index >> colour) & 1) << (7 - bit)).astype(np.uint8)
        index >>= 3
    return palette


def label_set(names: tuple[str, ...]) -> LabelSet:
    """A label set in VOC colours."""
    return LabelSet(names, voc_palette())
