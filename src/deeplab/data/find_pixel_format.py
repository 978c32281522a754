"""Channels and range of values of the images of a data set, which are the same for all of them."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from deeplab.data.bad_files import BadFileError
from deeplab.data.image_header import Header
from deeplab.data.image_io import read_header, read_values
from deeplab.data.pixel_format import RGB_CHANNELS, Bounds, range_text
from deeplab.data.pixel_values import Values, can_become, fewest_bits
from deeplab.data.settings import SegmentationSettings
from deeplab.utils.parallel import is_first_process, map_in_threads
from deeplab.utils.sampling import sample_evenly

D = TypeVar("D", bound=SegmentationSettings)

MAX_SAMPLES = 200
"""Number of images that are looked at."""

TAIL = 0.1
"""Percent of the values of a channel below and above the range that is found for them."""


class _Values(NamedTuple):
    """Values of an image."""

    path: Path
    type: str
    lowest: float
    highest: float


def with_pixel_format(settings: D, images: Sequence[Path]) -> D:
    """Return the settings with the channels and the range of values of the images.

    They are found in a sample of the images, and printed:

    * channels: 3 (RGB, as which gray is read too), or those of most files if these are others, such
      as five bands of a satellite.
    * bits: cameras and microscopes write 10 to 14 bits into files of 16. If some photos have more
      than 8 bits, the number is the smallest one that holds their largest value; a brighter image
      is an error when it is read.
    * range: that of floating-point and negative values, and of integers of more than 8 bits that
      are no photos. It is 0 to 1 if all values lie there; else it leaves out a thousandth of the
      values at each end.
    """
    sample = sample_evenly(images, MAX_SAMPLES)
    read = zip(sample, map_in_threads(_read_header, sample), strict=True)
    headers = {path: header for path, header in read if header is not None}
    lines = []
    if settings.channels is None:
        unnamed = Counter(header.channels for header in headers.values() if header.unnamed)
        for channels, count in unnamed.most_common(1):
            if 2 * count <= len(headers):  # a few odd files do not decide
                break
            settings = settings.model_copy(update={"channels": channels})
            lines.append(
                f"{count} of {len(sample)} checked ones have {channels} channels, which the "
                f"network sees (data.channels={channels}); figures show the first three"
            )
    deep = [path for path, header in headers.items() if header.deep]
    if deep and settings.image_bits is None and settings.image_range is None:
        channels = settings.pixel_format.channels
        found = [v for v in map_in_threads(partial(_read_values, channels=channels), deep) if v]
        if found:
            key, value, line = _range_or_bits(found, channels)
            settings = settings.model_copy(update={key: value})
            lines.append(f"{len(found)} of {len(sample)} checked ones have {line}")
    if is_first_process():
        for line in lines:
            print(f"Images: {line}")
    return settings


def _range_or_bits(found: Sequence[_Values], channels: int) -> tuple[str, object, str]:
    """Return the key to set, its value, and a line about it."""
    lowest, highest = min(f.lowest for f in found), max(f.highest for f in found)
    types = " and ".join(sorted({f.type for f in found}))
    integers = all(f.type.startswith(("uint", "int")) for f in found)
    if integers and lowest >= 0 and highest < 1 << 16 and channels in (1, RGB_CHANNELS):
        bits = fewest_bits(int(highest))
        return (
            "image_bits",
            bits,
            f"more than 8 bits per channel, with values up to {highest:.0f}: they are read as "
            f"images of {bits} bits (data.image_bits={bits}; set another number if it is wrong)",
        )
    unit = not integers and lowest >= 0 and highest <= 1
    value = (0.0, 1.0) if unit else _range([f.path for f in found], channels)
    return (
        "image_range",
        value,
        f"{types} values from {lowest:.6g} to {highest:.6g}: those within "
        f"data.image_range={range_text(value)} are spread over 0 to 255, those beyond become "
        "its ends",
    )


def _range(paths: Sequence[Path], channels: int) -> Bounds | tuple[Bounds, ...]:
    """Return the range of all channels of gray or color, or that of each other channel."""
    ranges = list(map_in_threads(partial(_read_ranges, channels=channels), paths))
    if channels in (1, RGB_CHANNELS):
        return _bounds(min(r[:, 0].min() for r in ranges), max(r[:, 1].max() for r in ranges))
    stacked = np.stack(ranges)
    low, high = stacked[..., 0].min(axis=0), stacked[..., 1].max(axis=0)
    return tuple(_bounds(*pair) for pair in zip(low, high, strict=True))


def _bounds(low: float, high: float) -> Bounds:
    """Return a range in few digits; that of a constant channel is not empty."""
    low, high = (float(f"{value:.5g}") for value in (low, high))
    return low, high if high > low else low + 1


def _read_header(path: Path) -> Header | None:
    try:
        return read_header(path)
    except BadFileError:  # reported when it is read
        return None


def _read_values(path: Path, channels: int) -> _Values | None:
    try:
        finite = _finite_values(path, channels)
    except BadFileError:
        return None
    if not can_become(len(finite), channels) or not all(channel.size for channel in finite):
        return None
    lowest, highest = min(c.min() for c in finite), max(c.max() for c in finite)
    return _Values(path, str(finite[0].dtype), float(lowest), float(highest))


def _read_ranges(path: Path, channels: int) -> NDArray[np.float64]:
    """Return the range of each channel of an image ``(C, 2)``."""
    finite = _finite_values(path, channels)
    return np.array([np.percentile(channel, (TAIL, 100 - TAIL)) for channel in finite])


def _finite_values(path: Path, channels: int) -> list[Values]:
    """Return the numbers of each channel of an image."""
    values = read_values(path, channels)
    return [channel[np.isfinite(channel)] for channel in np.moveaxis(values, -1, 0)]
