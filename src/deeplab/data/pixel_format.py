"""Channels of images and the meaning of their values, as a data set's keys have them."""

from typing import NamedTuple

RGB_CHANNELS = 3

Bounds = tuple[float, float]


class PixelFormat(NamedTuple):
    """What the values of a data set's image files mean."""

    channels: int = RGB_CHANNELS
    """Channels that the network sees: 3 for RGB, 1 for gray; others are those of the files."""
    bits: int | None = None
    """Bits that the integers of images of more than 8 bits use, of which the upper 8 are kept;
    None: 16, and an image that is so dark that it may have fewer is an error."""
    value_range: Bounds | tuple[Bounds, ...] | None = None
    """Lowest and highest value of images that are no integers of 8 bits, spread over 0 to 255: of
    all channels or of each."""

    def __str__(self) -> str:
        parts = [f"{self.channels} channels" if self.channels > 1 else "gray"]
        if self.value_range is not None:
            parts.append(f"values in {range_text(self.value_range)} are spread over 0 to 255")
        elif self.bits is not None:
            parts.append(f"those of more than 8 bits are read as ones of {self.bits}")
        return ", ".join(parts)


def range_text(value_range: Bounds | tuple[Bounds, ...]) -> str:
    """Return a range as it is typed."""
    pairs = [list(pair) if isinstance(pair, tuple) else pair for pair in value_range]
    return str(pairs).replace(" ", "")
