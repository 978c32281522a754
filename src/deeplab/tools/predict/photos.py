"""Photos upright as an image viewer shows them, from files, Pillow or arrays."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from deeplab.data.bad_files import BadFileError
from deeplab.data.image_header import Header
from deeplab.data.image_io import RGB, read_header, read_image
from deeplab.data.orientation import upright
from deeplab.data.packed_file import ImagePath
from deeplab.data.pixel_format import RGB_CHANNELS, PixelFormat
from deeplab.data.pixel_values import network_pixels
from deeplab.utils.errors import UserError
from deeplab.utils.reading import describe
from deeplab.utils.text import pluralize

Pixels = NDArray[np.uint8]


def read_photo(path: ImagePath, pixel_format: PixelFormat = RGB) -> tuple[Pixels, Header]:
    """Return an image ``(H, W, C)``, upright by its EXIF orientation, and its header.

    Everything else is as in ``read_image``, whose arguments and errors are the same.
    """
    header = read_header(path)
    return upright(read_image(path, pixel_format), header.orientation), header


def to_pixels(image: Any, pixel_format: PixelFormat = RGB) -> Pixels:
    """Return an image as ``(H, W, C)``, as ``read_photo`` returns that of a file.

    Args:
        image: an image of Pillow, which is turned upright by its EXIF orientation; or an array
            ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` in RGB order, ``(H, W, 4)``, whose alpha is
            dropped, or ``(H, W, C)`` if the network sees other channels: uint8, uint16, or
            floating-point numbers from 0 to 1; or any numbers if the format has a range.
        pixel_format: see ``deeplab.data.image_io.read_image``.

    Raises:
        UserError: it is anything else, is empty, or has values that are out of range.
        BadFileError: the file of an image of Pillow is damaged.
    """
    if isinstance(image, Image.Image):
        return _from_pillow(image, pixel_format)
    channels = sorted({1, 3, 4, pixel_format.channels})
    *others, last = ["(H, W)", *(f"(H, W, {n})" for n in channels if n > 1)]
    shapes = f"{', '.join(others)} or {last}"
    shape: tuple[int, ...] = image.shape if isinstance(image, np.ndarray | Tensor) else ()
    channels_first = len(shape) == 3 and shape[0] in channels
    if not isinstance(image, np.ndarray):
        moved = ".permute(1, 2, 0)" * channels_first
        hint = f" Pass image{moved}.numpy(force=True)." * isinstance(image, Tensor)
        raise UserError(
            f"image={type(image).__name__}: expected a path, the bytes of a file, an image of "
            f"Pillow, or a NumPy array {shapes}.{hint}"
        )
    description = f"image of shape {image.shape} and type {image.dtype}"
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in channels:
        hint = " Move the channels to the end: image.transpose(1, 2, 0)." * channels_first
        raise UserError(f"{description}: expected {shapes}.{hint}")
    if not image.size:
        raise UserError(f"{description}: it has no pixels.")
    if image.shape[2] == 4 and pixel_format.channels in (1, RGB_CHANNELS):
        image = image[..., :RGB_CHANNELS]
    if pixel_format.value_range is None and image.dtype.kind == "f":
        if unknown := int(np.isnan(image).sum()):
            raise UserError(f"{description}: {pluralize(unknown, 'value')} of nan. Replace them.")
        if not (image.min() >= 0 and image.max() <= 1):
            raise UserError(
                f"{description}: it has values from {image.min():g} to {image.max():g}. Numbers of "
                "this type must be from 0 to 1; values from 0 to 255 must be uint8."
            )
        image = np.rint(image * 255.0).astype(np.uint8)
    elif image.dtype not in (np.uint8, np.uint16) and pixel_format.value_range is None:
        raise UserError(f"{description}: expected uint8, uint16, or floats from 0 to 1.")
    return np.ascontiguousarray(network_pixels(image, pixel_format, Path(description)))


def _from_pillow(image: Image.Image, pixel_format: PixelFormat) -> Pixels:
    try:
        shown = ImageOps.exif_transpose(image)
    except OSError as error:  # its file is decoded now
        name = str(getattr(image, "filename", "")) or "image of Pillow"
        problem = f"this image cannot be decoded ({describe(error)})"
        remedy = "Get an undamaged copy of its file."
        raise BadFileError("undecodable image", name, problem, remedy) from None
    if shown.mode == "F" and pixel_format.value_range is None:
        raise UserError("image of mode F: floating-point images are not read. Pass an array.")
    if shown.mode == "F" or (shown.mode == "RGBA" and pixel_format.channels == 4):
        return to_pixels(np.asarray(shown), pixel_format)
    if shown.mode.startswith("I"):
        values = np.asarray(shown)
        if pixel_format.value_range is None and (values.min() < 0 or values.max() >= 1 << 16):
            raise UserError(
                f"image of mode {shown.mode}: values from {values.min()} to {values.max()}; "
                "integers of 8 to 16 bits are read."
            )
        kept = values if pixel_format.value_range else values.astype(np.uint16)
        return to_pixels(kept, pixel_format)
    rgb = np.array(shown if shown.mode == "RGB" else shown.convert("RGB"))
    return to_pixels(rgb, pixel_format)
