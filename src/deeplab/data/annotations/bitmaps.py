"""Decoding of the forms in which annotations store bitmaps: run lengths and small PNG files."""

import base64
import binascii
import zlib
from collections.abc import Sequence

import cv2
import numpy as np

from deeplab.data.annotations.regions import Mask, Pixels

MAX_PIXELS = 1 << 28
"""Largest number of pixels of a mask, and of bytes of a decompressed file."""


def decode_png(text: str, *, compressed: bool = False) -> Mask:
    """Return the mask ``(H, W)`` of a PNG file in base64: where it is not black or transparent.

    Args:
        text: the file in base64.
        compressed: it is compressed by zlib once more.

    Raises:
        ValueError: it is no such file.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a bitmap is not base64") from None
    if compressed:
        stream = zlib.decompressobj()
        try:
            data = stream.decompress(data, MAX_PIXELS)
        except zlib.error:
            raise ValueError("a bitmap cannot be decompressed") from None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if pixels is None:
        raise ValueError("a bitmap is no PNG file")
    if pixels.ndim == 2:
        return np.asarray(pixels > 0)
    if pixels.shape[2] == 4:
        return np.asarray(pixels[..., 3] > 0)
    return np.asarray(pixels.any(axis=2))


def decode_runs(runs: Sequence[int], height: int, width: int, *, by_column: bool = False) -> Mask:
    """Return the mask ``(H, W)`` of run lengths that begin with the outside.

    Args:
        runs: numbers of pixels, alternately outside and inside.
        height: rows of the mask.
        width: its columns.
        by_column: the pixels follow each other down the columns, as in COCO.

    Raises:
        ValueError: the lengths do not add up to the number of pixels.
    """
    fits = 0 <= height * width <= MAX_PIXELS and sum(runs) == height * width
    if not fits or any(run < 0 for run in runs):
        raise ValueError(f"run lengths do not add up to {width} x {height} pixels")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return inside.reshape(width, height).T if by_column else inside.reshape(height, width)


def uncompress_coco_runs(text: str) -> list[int]:
    """Return the run lengths that COCO writes as a string.

    Each character holds 5 bits, the lowest first, and a sixth bit that is set if more follow; from
    the fourth length on, the number is the difference from the length two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:  # the sign
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs


def decode_label_studio_runs(data: Sequence[int], height: int, width: int) -> Mask:
    """Return the mask ``(H, W)`` of a brush of Label Studio: where its alpha is above half.

    The bytes are a stream of bits: the number of values (32 bits), the bits of a value (5, less
    one), and four lengths of counters (4 each, less one). Then follow groups: a bit that is set for
    one repeated value, two bits that choose the length of the counter, the counter (less one), and
    the value or values. The values are the pixels' red, green, blue and alpha.

    Raises:
        ValueError: the stream ends early, or has another number of values.
    """
    if any(not 0 <= byte <= 255 for byte in data):
        raise ValueError("a brush is no list of bytes")
    bits = _Bits(np.unpackbits(np.asarray(data, np.uint8)))
    count, word = bits.read(32), bits.read(5) + 1
    lengths = [bits.read(4) + 1 for _ in range(4)]
    if count != 4 * height * width or count > 4 * MAX_PIXELS or word != 8:
        raise ValueError(f"a brush is not of {width} x {height} pixels")
    values = np.zeros(count, np.uint8)
    done = 0
    while done < count:
        repeated = bits.read(1)
        number = bits.read(lengths[bits.read(2)]) + 1
        end = min(done + number, count)
        values[done:end] = bits.read(word) if repeated else bits.read_bytes(end - done)
        done = end
    return values.reshape(height, width, 4)[..., 3] > 127


class _Bits:
    def __init__(self, bits: Pixels) -> None:
        self.bits, self.position = bits, 0

    def read(self, count: int) -> int:
        """Return the next bits as a number."""
        return int("".join(map(str, self._take(count))), 2)

    def read_bytes(self, count: int) -> Pixels:
        """Return the next bytes."""
        return np.packbits(self._take(8 * count))

    def _take(self, count: int) -> Pixels:
        taken = self.bits[self.position : self.position + count]
        self.position += count
        if len(taken) < count:
            raise ValueError("a brush ends early")
        return taken
