"""Photos of one's own, as a viewer shows them."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from deeplab.data.bad_files import BadFileError
from deeplab.data.image_io import read_image

Pixels = NDArray[np.uint8]

TURNED = range(5, 9)
"""The values of EXIF's orientation that exchange rows and columns."""

MIRRORED = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
"""The axes that each value of EXIF's orientation reverses, after the exchange."""


def read_photo(path: Path) -> Pixels:
    """An RGB image ``(H, W, 3)``, turned upright as its EXIF orientation says.

    Else as ``read_image`` has it: gray and CMYK become RGB, alpha is dropped, 16 bits become 8.

    Raises:
        BadFileError: it is no image, truncated, corrupt or larger than OpenCV takes.
    """
    try:
        image = read_image(path)
    except cv2.error as error:
        raise BadFileError(
            "undecodable image", path, f"OpenCV refuses this image ({error.err})", "Convert it."
        ) from None
    orientation = _orientation(path)
    if orientation in TURNED:
        image = image.transpose(1, 0, 2)
    return np.ascontiguousarray(np.flip(image, MIRRORED.get(orientation, ())))


def _orientation(path: Path) -> int:
    """EXIF's value; 1, which is upright, where there is none that can be read."""
    try:
        with Image.open(path) as picture:
            if picture.format == "TIFF":  # OpenCV has turned it, whatever it is told
                return 1
            return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError):
        return 1
