"""Folders of images and masks."""

import zlib

import numpy as np
from PIL import Image

SIZE = (40, 48)


def values(seed=0, classes=3):
    """A label map with all of the classes."""
    rng = np.random.default_rng(seed)
    array = np.zeros(SIZE, np.uint8)
    for value in range(classes):
        top, left = rng.integers(0, 15, 2)
        array[top : top + 20, left : left + 20] = value
    array[0, :classes] = range(classes)
    return array


def image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(SIZE[::-1]).save(path)


def mask(path, array=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values() if array is None else array).save(path)


def pairs(root, pattern_image, pattern_mask, names, masks=None):
    for name in names:
        seed = zlib.crc32(name.encode())
        image(root / pattern_image.format(name), seed)
        mask(root / pattern_mask.format(name), None if masks is None else masks(seed))
