"""Conversion of the values of image files to the 8-bit channels that the network sees."""

from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab.data.bad_files import BadFileError
from deeplab.data.packed_file import ImagePath
from deeplab.data.pixel_format import RGB_CHANNELS, PixelFormat
from deeplab.data.settings import BitDepth

Pixels = NDArray[np.uint8]
Values = NDArray[Any]


def to_8_bits(values: Values, pixel_format: PixelFormat, path: ImagePath) -> Pixels:
    """Return values of any type as uint8 of the same shape ``(H, W, C)``.

    Values beyond the range become its ends, and NaN the lowest.

    Raises:
        BadFileError: their meaning is not known, or they are more than its bits hold.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if pixel_format.value_range is not None:
        low, high = np.asarray(pixel_format.value_range, np.float32).T
        with np.errstate(all="ignore"):  # infinite values
            scaled = (np.asarray(values, np.float32) - low) * (255 / (high - low))
        scaled = np.nan_to_num(scaled, nan=0, posinf=255, neginf=0)
        return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    if values.dtype.kind not in "ui":
        raise _unknown_range(path, f"{values.dtype} values")
    smallest, largest = (int(bound) for bound in (values.min(), values.max()))
    if smallest < 0 or largest >= 1 << 16:
        raise _unknown_range(path, f"values from {smallest} to {largest}")
    if pixel_format.bits is None and largest < 1 << 14:
        raise BadFileError(
            "unknown bit depth",
            path,
            f"{values.dtype} values up to {largest}, which is nearly black if all 16 bits count",
            "Set data.image_bits to the bits that its values use (10, 12, 14 or 16) and train "
            "with it, or scale it to 8 bits.",
        )
    bits = pixel_format.bits or 16
    if largest >= 1 << bits:
        raise BadFileError(
            "value above data.image_bits",
            path,
            f"values up to {largest}, which are more than data.image_bits={bits}",
            f"Set data.image_bits={fewest_bits(largest)}.",
        )
    return np.right_shift(values, bits - 8).astype(np.uint8)


def can_become(found: int, channels: int) -> bool:
    """Return True if an image of so many channels can be read as one of the network's channels."""
    return found == channels or {found, channels} == {1, RGB_CHANNELS}


def network_pixels(values: Values, pixel_format: PixelFormat, path: ImagePath) -> Pixels:
    """Return values of any type ``(H, W, C)`` as the uint8 image that the network sees.

    Gray becomes three equal channels and RGB one; other numbers must be those of the file.

    Raises:
        BadFileError: it has another number of channels; or as in ``to_8_bits``.
    """
    found, channels = values.shape[2], pixel_format.channels
    if not can_become(found, channels):
        raise BadFileError(
            "other channels",
            path,
            f"{found} channels; {channels} are read",
            f"Set data.channels={found} if all images have so many; images of different numbers "
            "cannot be mixed. Or save the ones that the network should see.",
        )
    image = to_8_bits(values, pixel_format, path)
    if image.shape[2] == channels:  # a range for each channel also spreads gray to three
        return image
    if found == 1:
        return np.repeat(image, RGB_CHANNELS, axis=2)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.uint8)


def fewest_bits(largest: int) -> int:
    """Return the smallest ``BitDepth`` that holds a value."""
    return next(bits for bits in get_args(BitDepth) if largest < 1 << bits)


def _unknown_range(path: ImagePath, found: str) -> BadFileError:
    return BadFileError(
        "unknown range of values",
        path,
        f"{found}, whose meaning is not known",
        "Set data.image_range=[lowest,highest], or save integers of 8 or 16 bits.",
    )
