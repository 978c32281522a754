"""Photos upright as an image viewer shows them, from files, Pillow or arrays."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from deeplab.data.image_header import TRANSPOSED_ORIENTATIONS, Header
from deeplab.data.image_io import read_header, read_image, to_8_bits
from deeplab.utils.errors import UserError

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


def to_pixels(image: Any, image_bits: int | None = None) -> Pixels:
    """Return an image as RGB ``(H, W, 3)``, as ``read_photo`` returns that of a file.

    Args:
        image: an image of Pillow, which is turned upright by its EXIF orientation; or an array
            ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` in RGB order, or ``(H, W, 4)``, whose
            alpha is dropped: uint8, uint16, or floating-point numbers from 0 to 1.
        image_bits: see ``deeplab.data.image_io.read_image``; of uint16 only.

    Raises:
        UserError: it is anything else, is empty, or has values that are out of range.
    """
    if isinstance(image, Image.Image):
        return _from_pillow(image, image_bits)
    if not isinstance(image, np.ndarray):
        raise UserError(
            f"image={type(image).__name__}: expected a path, an image of Pillow, or a NumPy array "
            "(H, W), (H, W, 3) or (H, W, 4)."
        )
    description = f"image of shape {image.shape} and type {image.dtype}"
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        channels_first = image.ndim == 3 and image.shape[0] in (1, 3, 4)
        hint = " Move the channels to the end: image.transpose(1, 2, 0)." * channels_first
        raise UserError(f"{description}: expected (H, W), (H, W, 3) or (H, W, 4).{hint}")
    if not image.size:
        raise UserError(f"{description}: it has no pixels.")
    image = image[..., : min(3, image.shape[2])]
    if image.dtype == np.uint16:
        image = to_8_bits(image, image_bits, Path(description))
    elif image.dtype.kind == "f":
        if not (image.min() >= 0 and image.max() <= 1):  # also nan
            raise UserError(
                f"{description}: it has values from {image.min():g} to {image.max():g}. Numbers of "
                "this type must be from 0 to 1; values from 0 to 255 must be uint8."
            )
        image = np.rint(image * 255.0).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise UserError(f"{description}: expected uint8, uint16, or floats from 0 to 1.")
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def _from_pillow(image: Image.Image, image_bits: int | None) -> Pixels:
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F":
        raise UserError("image of mode F: floating-point images are not read. Pass an array.")
    if upright.mode.startswith("I"):
        values = np.asarray(upright)
        if values.min() < 0 or values.max() >= 1 << 16:
            raise UserError(
                f"image of mode {upright.mode}: values from {values.min()} to {values.max()}; "
                "integers of 8 to 16 bits are read."
            )
        return to_pixels(values.astype(np.uint16), image_bits)
    return np.array(upright if upright.mode == "RGB" else upright.convert("RGB"))
