"""Reading of photos, upright as an image viewer shows them."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from deeplab.data.bad_files import BadFileError
from deeplab.data.image_io import read_image

Pixels = NDArray[np.uint8]

TRANSPOSED_ORIENTATIONS = range(5, 9)
"""EXIF orientations that exchange rows and columns."""

FLIPPED_AXES = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
"""Axes that each EXIF orientation flips, after the transposition."""


def read_photo(path: Path) -> Pixels:
    """Read an RGB image ``(H, W, 3)`` and rotate it upright by its EXIF orientation.

    Everything else is as in ``read_image``: gray and CMYK become RGB, alpha is dropped, 16 bits
    become 8.

    Raises:
        BadFileError: the file is no image, truncated, corrupt or too large for OpenCV.
    """
    try:
        image = read_image(path)
    except cv2.error as error:
        raise BadFileError(
            "undecodable image", path, f"OpenCV cannot read this image ({error.err})", "Convert it."
        ) from None
    orientation = _orientation(path)
    if orientation in TRANSPOSED_ORIENTATIONS:
        image = image.transpose(1, 0, 2)
    return np.ascontiguousarray(np.flip(image, FLIPPED_AXES.get(orientation, ())))


def _orientation(path: Path) -> int:
    """Return the EXIF orientation; 1 (upright) if there is none that can be read."""
    try:
        with Image.open(path) as image:
            if image.format == "TIFF":  # OpenCV always rotates TIFF images itself
                return 1
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError):
        return 1
