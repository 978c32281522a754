"""Reading of photos, upright as an image viewer shows them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeplab.data.image_header import TRANSPOSED_ORIENTATIONS, Header
from deeplab.data.image_io import read_header, read_image

Pixels = NDArray[np.uint8]

FLIPPED_AXES = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
"""Axes that each EXIF orientation flips, after the transposition."""


def read_photo(path: Path, image_bits: int | None = None) -> tuple[Pixels, Header]:
    """Return an RGB image ``(H, W, 3)``, upright by its EXIF orientation, and its header.

    Everything else is as in ``read_image``, whose arguments and errors are the same.
    """
    image, header = read_image(path, image_bits), read_header(path)
    if header.orientation in TRANSPOSED_ORIENTATIONS:
        image = image.transpose(1, 0, 2)
    flipped = np.flip(image, FLIPPED_AXES.get(header.orientation, ()))
    return np.ascontiguousarray(flipped), header
