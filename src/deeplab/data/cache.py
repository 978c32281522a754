"""Decoded images and labels in one file that is mapped into memory.

    pixels.bin    image after image: its RGB pixels, then its labels
    index.npy     a row for each item: offset, height and width; height 0 if it could not be decoded

All loading processes share the pages that the system keeps in memory.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeplab.data.dataset import Reader
from deeplab.data.labels import Pixels
from deeplab.data.layout import Item

Index = NDArray[np.int64]
BYTES = 4
"""For each pixel: three of the image and one of the label."""


class DecodedCache:
    """Reads items from a cache; those that are not in it as before, which raises what is wrong.

    Args:
        folder: where the two files are.
        items: in the order of the index.
        otherwise: how an item is read that is not in the cache.
    """

    def __init__(self, folder: Path, items: list[Item], otherwise: Reader) -> None:
        self.folder, self.otherwise = folder, otherwise
        self.rows = {item: row for row, item in enumerate(items)}
        self.index: Index = np.load(folder / "index.npy")

    @cached_property
    def pixels(self) -> Pixels:
        """The mapped file, opened by each process for itself."""
        return np.memmap(self.folder / "pixels.bin", np.uint8, mode="r")

    def __call__(self, item: Item) -> tuple[Pixels, Pixels]:
        """Image ``(H, W, 3)`` and label ``(H, W)``, read-only."""
        offset, height, width = (int(n) for n in self.index[self.rows[item]])
        if not height:
            return self.otherwise(item)
        middle, end = offset + 3 * height * width, offset + BYTES * height * width
        image = self.pixels[offset:middle].reshape(height, width, 3)
        return image, self.pixels[middle:end].reshape(height, width)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "pixels"}


def plan(sizes: list[tuple[int, int]]) -> Index:
    """The index of images of these heights and widths, one behind the other."""
    index = np.zeros((len(sizes), 3), np.int64)
    index[:, 1:] = sizes
    index[1:, 0] = np.cumsum(index[:-1, 1] * index[:-1, 2] * BYTES)
    return index
