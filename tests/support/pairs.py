"""Writers of small folders of images and masks."""

import zlib

import numpy as np
from PIL import Image

SIZE = (40, 48)


def label_map(seed=0, classes=3):
    """Return a label map that contains all classes."""
    rng = np.random.default_rng(seed)
    array = np.zeros(SIZE, np.uint8)
    for value in range(classes):
        top, left = rng.integers(0, 15, 2)
        array[top : top + 20, left : left + 20] = value
    array[0, :classes] = range(classes)
    return array


def write_image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(SIZE[::-1]).save(path)


def write_mask(path, array=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_map() if array is None else array).save(path)


def write_pairs(root, image_pattern, mask_pattern, names, make_mask=None):
    """Write an image and a mask for each name; ``make_mask`` returns the mask of a seed."""
    for name in names:
        seed = zlib.crc32(name.encode())
        write_image(root / image_pattern.format(name), seed)
        write_mask(root / mask_pattern.format(name), None if make_mask is None else make_mask(seed))
