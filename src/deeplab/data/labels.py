"""The colours that classes are painted in."""

import numpy as np
from numpy.typing import NDArray


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
