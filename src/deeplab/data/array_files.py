"""Decoding of images that are no photos: TIFF files of any channels and numbers, NumPy arrays."""

import io
import logging

import numpy as np

from deeplab.data.image_header import NPY, ORIENTATION, Header, arrange_axes
from deeplab.data.orientation import upright
from deeplab.data.pixel_values import Values


class NoTiffError(Exception):
    """A TIFF that only the packages tifffile and imagecodecs decode."""


def decode_array(data: bytes, header: Header) -> Values:
    """Return all channels of an image ``(H, W, C)`` in the type of the file.

    Raises:
        NoTiffError: it needs packages that are not installed.
        Exception: the file is damaged.
    """
    if data.startswith(NPY):
        values = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        height, width, channels = arrange_axes(values.shape)
        if values.ndim == 3 and values.shape == (channels, height, width):
            values = values.transpose(1, 2, 0)
        return values.reshape(height, width, channels)
    return _decode_tiff(data, header)


def _decode_tiff(data: bytes, header: Header) -> Values:
    try:
        import imagecodecs  # noqa: F401  tifffile decodes compressed files with it
        import tifffile
    except ImportError:
        number = "channel" if header.channels == 1 else "channels"
        raise NoTiffError(f"{header.channels} {number} of {header.bits} bits") from None
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it says there is checked here
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[header.page]
        assert isinstance(page, tifffile.TiffPage)
        parts = zip(page.dataoffsets, page.databytecounts, strict=True)
        if any(offset + count > len(data) or not count for offset, count in parts):
            raise ValueError("its end is missing")
        values = page.asarray()
        if page.axes.startswith("S"):
            values = np.moveaxis(values, 0, -1)
        orientation = page.tags.get(ORIENTATION)
        values = values[..., None] if page.axes == "YX" else values
        return upright(values, int(orientation.value) if orientation else 1)
