"""Reading of image and mask files: the only place where their pixels are decoded.

Nothing is repaired silently: a file that cannot be decoded to its last pixel is an error. Whatever
a decoder raises becomes a BadFileError with the file's name, and nothing is printed.
"""

import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import Pixels
from deeplab.data.image_header import (
    DOWNLOAD_AGAIN,
    FORMATS,
    ROTATED,
    Header,
    Role,
    check_readable,
    not_an_image_error,
    open_file,
    parse_header,
)

JPEG, PNG, NPY = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"\x93NUMPY"

BIT_DEPTHS = (8, 10, 12, 14, 16)
"""Numbers of bits that the values of a 16-bit file may use."""

Values = NDArray[Any]

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", module=r"PIL\.")
_stderr_lock = threading.Lock()


def read_image(path: Path, image_bits: int | None = None) -> Pixels:
    """Return an RGB image ``(H, W, 3)``.

    Gray becomes three equal channels, alpha is dropped, of several frames or pages the first is
    read. An EXIF rotation is ignored, since masks have none.

    Args:
        path: the file.
        image_bits: number of bits that the values of images of more than 8 bits use, of which the
            upper 8 are kept; None: 16, and an image that is so dark that it may have fewer is an
            error.

    Raises:
        BadFileError: the file is missing, not an image, truncated, corrupt, or of a kind that is
            not read.
    """
    with open_file(path, "image") as stream:
        if stream.read(2) == JPEG:
            stream.seek(0)
            return _decode_jpeg(stream.read(), path, "image", "RGB")
        stream.seek(0)
        header, data = _read(stream, path, "image")
        if header.deep:
            return _to_8_bits(_decode_deep(data, header, path, "image"), image_bits, path)
        image = _load(data, header)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"), np.uint8)


def read_mask(path: Path, *, colored: bool = False) -> Pixels:
    """Return the values of a mask: ``(H, W)``, or ``(H, W, 3)`` with ``colored``.

    Values are the indices of a palette image, or gray values; a color image whose channels are
    equal counts as gray, and so does a GIF with a gray palette: encoders of GIF reorder palettes.
    Alpha is dropped. A ``.npy`` file holds an array ``(H, W)``.

    Raises:
        BadFileError: the file is missing, not an image, damaged, or has colors or values above 255
            where indices are expected.
    """
    with open_file(path, "mask") as stream:
        start = stream.read(8)
        stream.seek(0)
        if start.startswith(NPY):
            values, mode = _read_npy(path), "NumPy array"
        else:
            header, data = _read(stream, path, "mask")
            values, mode = _decode_mask(data, header, path, colored=colored)
        if values.ndim == 3 and not colored and (values[..., :1] == values).all():
            values = values[..., 0]
        if values.ndim == 3 and not colored:
            raise BadFileError(
                "color mask",
                path,
                f"this is a color mask (mode {mode}); class indices are expected",
                "Convert it to a palette or 8-bit gray PNG of class indices, or use data=folder, "
                "which also reads colors.",
            )
        _check_mask_values(values, mode, path)
        if values.ndim == 2 and colored:
            values = np.repeat(values[..., None], 3, axis=2)
        return np.ascontiguousarray(values, np.uint8)


def mask_kind(path: Path) -> tuple[str, int, Pixels | None]:
    """Return the format of a mask, its channels, and the palette ``(N, 3)`` of its indices.

    Raises:
        BadFileError: as in ``read_mask``, but damage behind the header is not noticed.
    """
    with open_file(path, "mask") as stream:
        if stream.read(len(NPY)) == NPY:
            return "NPY", 1, None
        stream.seek(0)
        with suppress(UnidentifiedImageError), Image.open(stream, formats=FORMATS) as mask:
            if mask.format == "GIF":
                return "GIF", 3, None
            entries = mask.getpalette("RGB") if mask.mode in ("P", "PA") else None
            palette = None if entries is None else np.array(entries, np.uint8).reshape(-1, 3)
            return str(mask.format), len(mask.getbands()), palette
        return "TIFF", 1, None  # of a kind that Pillow does not open


def read_header(path: Path) -> Header:
    """Return the header of an image file.

    Raises:
        BadFileError: as in ``read_image``, but damage behind the header is not noticed.
    """
    try:
        with open_file(path, "image") as stream:
            header = parse_header(stream)
        check_readable(header, path, "image")
    except BadFileError:
        read_image(path)  # whose error says more
        raise
    return header


def unusual_kinds(image: Path, mask: Path) -> list[tuple[str, Path]]:
    """Return what is not plain 8-bit RGB in an image, by the keys of ``KINDS``, with its file.

    An EXIF orientation counts if image and mask differ in it.

    Raises:
        BadFileError: the header of the image cannot be read.
    """
    header, mask_orientation = read_header(image), 1
    with suppress(BadFileError), open_file(mask, "mask") as stream:
        mask_orientation = parse_header(stream).orientation
    kinds = [(kind, image) for kind in header.kinds if kind != ROTATED]
    if header.orientation != mask_orientation:
        kinds.append((ROTATED, image if header.orientation != 1 else mask))
    return kinds


def largest_value(path: Path) -> int:
    """Return the largest value of an image of more than 8 bits.

    Raises:
        BadFileError: as in ``read_image``.
    """
    with open_file(path, "image") as stream:
        header, data = _read(stream, path, "image")
        return int(_decode_deep(data, header, path, "image").max())


def size_mismatch_error(path: Path, mask: tuple[int, ...], image: Path) -> BadFileError:
    """Return the error of a mask at ``path`` whose shape differs from its image's shape."""
    header = read_header(image)
    height, width = header.size
    rotated = header.orientation >= 5 and mask[:2] == (width, height)
    return BadFileError(
        "sizes differ",
        path,
        f"mask {mask[0]} x {mask[1]}, but its image is {height} x {width} (height x width)"
        + ", with a rotation in its EXIF header, which is not applied" * rotated,
        "Save the image rotated and without the header, for example with mogrify -auto-orient."
        if rotated
        else "Both must have the same size: export the mask at the image's size.",
    )


def _read(stream: BinaryIO, path: Path, role: Role) -> tuple[Header, bytes]:
    """Return the header and all bytes of a file, checked."""
    data = b""
    if stream.read(len(PNG)) == PNG:  # before its header is parsed, for an error that says more
        stream.seek(0)
        data = stream.read()
        _check_png(data, path, role)
    stream.seek(0)
    header = parse_header(stream)
    check_readable(header, path, role)
    return header, data or stream.read()


def _decode_jpeg(data: bytes, path: Path, role: Role, colors: str) -> Pixels:
    # OpenCV and Pillow decode most damaged JPEGs without an error; simplejpeg also raises on
    # libjpeg's warnings, and is as fast.
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        check_readable(Header((height, width), 3, 8), path, role)
        return np.asarray(simplejpeg.decode_jpeg(data, colors, strict=True), np.uint8)
    except ValueError as error:
        raise _jpeg_error(path, role, str(error)) from None


def _load(data: bytes, header: Header) -> Image.Image:
    """Return a decoded image of Pillow."""
    with _silent_stderr() if header.compressed else nullcontext():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.load()
        return image


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep C libraries from printing: Pillow's libtiff says there what it also raises."""
    with _stderr_lock:
        try:
            saved = os.dup(2)
        except OSError:  # this process has no stderr
            yield
            return
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(null)


def _decode_deep(data: bytes, header: Header, path: Path, role: Role) -> Values:
    """Return the values of an image of more than 8 bits, ``(H, W, 3)``."""
    if data.startswith(PNG):
        data = _critical_chunks(data)
    with suppress(UnidentifiedImageError):  # raised for some TIFFs that OpenCV decodes
        _load(data, header)  # which notices damage that OpenCV prints or passes over
    # not IMREAD_COLOR_RGB: OpenCV 5.0 returns wrong values with it for TIFFs of 3 x 16 bits
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR_BGR | cv2.IMREAD_IGNORE_ORIENTATION
    values = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if values is None:
        raise not_an_image_error(path, role)
    if values.dtype != np.uint16 and values.min() < 0:
        raise BadFileError(
            f"negative {role}",
            path,
            f"values from {values.min()} to {values.max()}; 0 and above are read",
            "Convert all files to unsigned integers by the same scale.",
        )
    return values[..., ::-1]


def _to_8_bits(values: Values, image_bits: int | None, path: Path) -> Pixels:
    """Return the upper 8 of the bits that the values use."""
    largest = int(values.max())
    if image_bits is None and largest < 1 << 14:
        raise BadFileError(
            "unknown bit depth",
            path,
            f"a 16-bit image whose largest value is {largest}, nearly black if all 16 bits count",
            "Set data.image_bits to the bits that its values use (10, 12, 14 or 16) and train "
            "with it, or scale it to 8 bits.",
        )
    bits = image_bits or 16
    if largest >= 1 << bits:
        raise BadFileError(
            "value above data.image_bits",
            path,
            f"values up to {largest}, which are more than data.image_bits={bits}",
            f"Set data.image_bits={fewest_bits(largest)}.",
        )
    return np.right_shift(values, bits - 8).astype(np.uint8)


def fewest_bits(largest: int) -> int:
    """Return the smallest of ``BIT_DEPTHS`` that holds a value."""
    return next(bits for bits in BIT_DEPTHS if largest < 1 << bits)


def _decode_mask(data: bytes, header: Header, path: Path, *, colored: bool) -> tuple[Values, str]:
    """Return the values of a mask, ``(H, W)`` or ``(H, W, 3)``, and the name of its kind."""
    if data.startswith(JPEG):
        pixels = _decode_jpeg(data, path, "mask", "GRAY" if header.gray else "RGB")
        return pixels.squeeze(2) if header.gray else pixels, "JPEG"
    if header.deep and header.channels > 1:
        return _decode_deep(data, header, path, "mask"), f"{header.bits} bits"
    mask = _load(data, header)
    mode, is_palette = mask.mode, mask.mode in ("P", "PA")
    if mode == "RGB" or (is_palette and (colored or mask.format == "GIF")):
        return np.asarray(mask.convert("RGB")), mode
    if len(mask.getbands()) > 2:
        return np.asarray(mask.convert("RGB")), mode
    return np.asarray(mask.getchannel(0) if len(mask.getbands()) == 2 else mask), mode


def _read_npy(path: Path) -> Values:
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "buif":
        shape = " x ".join(map(str, values.shape)) or "no"
        raise BadFileError(
            "unreadable mask",
            path,
            f"an array of {shape} entries of type {values.dtype}; integers (height, width) are "
            "expected",
            "Save the class indices of the pixels as such an array, or as a PNG.",
        )
    return np.array(values)


def _check_mask_values(values: Values, mode: str, path: Path) -> None:
    """Raise BadFileError unless all values are integers from 0 to 255."""
    if values.dtype in (np.uint8, np.bool_) or not values.size:
        return
    if values.dtype.kind == "f" and not (values == np.rint(values)).all():
        raise BadFileError(
            "fractions in a mask",
            path,
            f"this mask has values that are no integers (mode {mode})",
            "Convert it to an 8-bit PNG of class indices.",
        )
    smallest, largest = int(values.min()), int(values.max())
    if smallest < 0 or largest > 255:
        value_range = f"from {smallest}" if smallest < 0 else f"up to {largest}"
        raise BadFileError(
            "16-bit mask",
            path,
            f"this mask has values {value_range} (mode {mode}); 0 to 255 are expected",
            "Convert it to an 8-bit PNG of class indices.",
        )


def _chunks(data: bytes) -> list[tuple[int, int]]:
    """Return start and end of each chunk of a PNG, up to its end or the first incomplete one."""
    spans, start = [], len(PNG)
    while start + 12 <= len(data):
        end = start + 12 + int(struct.unpack_from(">I", data, start)[0])
        if end > len(data):
            break
        spans.append((start, end))
        if data[start + 4 : start + 8] == b"IEND":
            break
        start = end
    return spans


def _check_png(data: bytes, path: Path, role: Role) -> None:
    """Raise BadFileError for a PNG that is truncated, or whose checksums are wrong.

    Decoders do not look at all of them.
    """
    spans, content = _chunks(data), memoryview(data)
    if any(
        zlib.crc32(content[start + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]
        for start, end in spans
    ):
        raise BadFileError(
            f"corrupt {role}",
            path,
            "this PNG is corrupt (a checksum is wrong)",
            f"{DOWNLOAD_AGAIN}.",
        )
    if not spans or data[spans[-1][0] + 4 : spans[-1][0] + 8] != b"IEND":
        raise BadFileError(
            f"truncated {role}",
            path,
            "this PNG is truncated (its end is missing)",
            f"{DOWNLOAD_AGAIN}.",
        )


def _critical_chunks(data: bytes) -> bytes:
    """Return a PNG without comments, profiles and the like, of which libpng prints warnings."""
    spans = _chunks(data)
    return PNG + b"".join(data[s:e] for s, e in spans if data[s + 4 : s + 5].isupper())


def _jpeg_error(path: Path, role: Role, message: str) -> BadFileError:
    if "Premature end" in message:
        return BadFileError(
            f"truncated {role}",
            path,
            "this JPEG is truncated (its end is missing)",
            f"{DOWNLOAD_AGAIN}.",
        )
    if "header" in message.lower():
        return not_an_image_error(path, role)
    return BadFileError(
        f"corrupt {role}",
        path,
        f"this JPEG is corrupt ({message.strip()})",
        f"{DOWNLOAD_AGAIN}; if it looks right, save it again.",
    )
