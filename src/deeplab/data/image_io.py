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
from functools import cache
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO, Literal, NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from deeplab.data.array_files import NoTiffError, decode_array
from deeplab.data.bad_files import BadFileError
from deeplab.data.image_header import (
    NPY,
    ROTATED,
    ROTATED_ANNOTATION,
    TIFF_STARTS,
    Header,
    NoHeifError,
    Role,
    parse_header,
    pillow_formats,
)
from deeplab.data.packed_file import ImagePath
from deeplab.data.pixel_format import RGB_CHANNELS, PixelFormat
from deeplab.data.pixel_values import Pixels, Values, network_pixels
from deeplab.utils.program import script_name

JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"

MAX_PIXELS = 2**30
"""Largest number of pixels of an image, which is also OpenCV's."""

RGB = PixelFormat()

MaskKind = Literal["indices", "palette", "gray", "color"]
"""One channel; one channel and a palette; three equal channels; three channels."""

AGAIN = "Download it again or leave it out."
AS_PNG = "Convert it to an 8-bit PNG of class indices."

PROBLEMS = {
    "no {role} file": ("this is {found}, not a file", "Name a file instead, or leave it out."),
    "empty {role} file": ("this file is empty", AGAIN),
    "missing {role}": ("the {role} does not exist", "Add the file, or correct the path."),
    "unreadable {role}": (
        "the {role} cannot be read ({found})", "Check the file and its permissions.",
    ),
    "no image": ("this file cannot be decoded as an image", f"{AGAIN[:-1]}, or convert it."),
    "HEIC {role}": (
        "this is a HEIC {role}, for which pillow-heif is not installed",
        'Run pip install pillow-heif (or the extra "heic"), or convert it to JPEG or PNG.',
    ),
    "undecodable {role}": ("the {role} cannot be decoded ({found})", AGAIN),
    "truncated {role}": ("this {found} is truncated (its end is missing)", AGAIN),
    "corrupt {role}": (
        "this {found}", f"{AGAIN[:-1]}; if it looks right, save it again.",
    ),
    "too large {role}": ("{found}", "Cut it into tiles."),
    "TIFF {role}": (
        "a TIFF of {found}, which only tifffile and imagecodecs decode",
        'Run pip install tifffile imagecodecs (or the extra "tiff"), or save it as an 8-bit RGB '
        "image.",
    ),
    "too many channels": ("{found} channels; 1 to 4 are read", AS_PNG),
    "several masks": (
        "this mask has several frames or pages; one is expected",
        "Save the one with the classes as a PNG.",
    ),
    "color mask": (
        "this is a color mask (mode {found}); class indices are expected",
        "Convert it to a palette or 8-bit gray PNG of class indices, or let the classes of "
        "data=folder have colors as values.",
    ),
    "array that is no mask": (
        "an array of {found}; integers (height, width) are expected",
        "Save the class indices of the pixels as such an array, or as a PNG.",
    ),
    "fractions in a mask": ("this mask has values that are no integers (mode {found})", AS_PNG),
    "16-bit mask": ("this mask has values {found}; 0 to 255 are expected", AS_PNG),
}  # fmt: skip
"""Problem and remedy of each kind of bad file."""

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
_stderr_lock = threading.Lock()


class Mask(NamedTuple):
    """Decoded mask."""

    values: Pixels
    """``(H, W)``, or ``(H, W, 3)`` if the kind is color."""
    kind: MaskKind
    mode: str
    """Pillow's name of the mode, or JPEG."""
    palette: Pixels | None = None
    """Colors ``(256, 3)`` of the values; colors beyond the palette's end are black."""


def bad_file(
    kind: str, path: ImagePath, role: Role = "image", *, found: object = ""
) -> BadFileError:
    """Return the error of a kind in ``PROBLEMS``; ``role`` and ``found`` stand in its text."""
    texts = (kind, *PROBLEMS[kind])
    kind, problem, remedy = (text.format(role=role, found=found) for text in texts)
    return BadFileError(kind, path, problem, remedy)


def read_image(path: ImagePath, pixel_format: PixelFormat = RGB) -> Pixels:
    """Return an image ``(H, W, C)``, of which C is that of the format.

    RGB: gray becomes three equal channels, alpha is dropped. Of several frames or pages the first
    is read. An EXIF rotation is ignored, since masks have none.

    Args:
        path: the file.
        pixel_format: channels, and what values of more than 8 bits mean.

    Raises:
        BadFileError: the file is missing, not an image, truncated, corrupt, or of a kind that is
            not read.
    """
    return network_pixels(read_values(path, pixel_format.channels), pixel_format, path)


def read_values(path: ImagePath, channels: int) -> Values:
    """Return an image ``(H, W, C)`` in the type of the file, of which ``read_image`` takes 8 bits.

    Args:
        path: the file.
        channels: number of channels that the network sees; C is another if the file's differ.

    Raises:
        BadFileError: as in ``read_image``.
    """
    with _open(path, "image") as stream:
        if stream.read(2) == JPEG:
            stream.seek(0)
            return _decode_jpeg(stream.read(), path, "image", "RGB")
        stream.seek(0)
        header, data = _read(stream, path, "image")
        color = channels in (1, RGB_CHANNELS)
        if header.array or (not color and data.startswith(TIFF_STARTS)):
            values = decode_array(data, header)
            return values[..., :-1] if color and header.extra_channel else values
        if header.deep:
            _check_decodable(data, header)
            return _decode_deep(data, color=color)
        image = _load(data, header)
        if image.mode != "RGB" and (color or image.mode not in ("LA", "RGBA", "CMYK")):
            image = image.convert("RGB")
        return np.asarray(image, np.uint8)


def read_mask(path: Path, *, colored: bool = False) -> Pixels:
    """Return the values of a mask: ``(H, W)``, or ``(H, W, 3)`` with ``colored``.

    Raises:
        BadFileError: see ``decode_mask``; or the mask has colors where indices are expected.
    """
    values, kind, mode, palette = decode_mask(path)
    if not colored:
        if kind == "color":
            raise bad_file("color mask", path, found=mode)
        return values
    if palette is not None:
        return palette[values]
    return values if kind == "color" else np.repeat(values[..., None], 3, axis=2)


def decode_mask(path: Path) -> Mask:
    """Return a mask.

    Values are the indices of a palette image, or gray values; a color image whose channels are
    equal counts as gray, and so does a GIF with a gray palette: encoders of GIF reorder palettes.
    Alpha is dropped. A ``.npy`` file holds an array ``(H, W)``.

    Raises:
        BadFileError: the file is missing, not an image, damaged, or has values above 255.
    """
    with _open(path, "mask") as stream:
        if stream.read(len(NPY)) == NPY:
            values: Values = _read_npy(path)
            return Mask(_as_bytes(values, "NumPy array", path), "indices", "NumPy array")
        stream.seek(0)
        header, data = _read(stream, path, "mask")
        palette = None
        if data.startswith(JPEG):
            values = _decode_jpeg(data, path, "mask", "GRAY" if header.gray else "RGB")
            values, mode = values.squeeze(2) if header.gray else values, "JPEG"
        elif header.deep and header.channels > 1:
            if header.array:
                values = decode_array(data, header)
            else:
                _check_decodable(data, header)
                values = _decode_deep(data)
            mode = f"{header.bits} bits"
        else:
            mask = _load(data, header)
            mode, entries = mask.mode, mask.getpalette("RGB") if "P" in mask.mode else None
            if mask.format == "GIF" or len(mask.getbands()) > 2:
                mask = mask.convert("RGB")
            elif entries is not None:
                palette = np.zeros((256, 3), np.uint8)
                palette.flat[: len(entries)] = entries
            values = np.asarray(mask.getchannel(0) if len(mask.getbands()) == 2 else mask)
        kind: MaskKind = "indices" if palette is None else "palette"
        if values.ndim == 3:
            kind = "gray" if (values[..., :1] == values).all() else "color"
            values = values if kind == "color" else values[..., 0]
        return Mask(_as_bytes(values, mode, path), kind, mode, palette)


def read_header(path: ImagePath) -> Header:
    """Return the header of an image file.

    Raises:
        BadFileError: as in ``read_image``, but damage behind the header is not noticed.
    """
    try:
        with _open(path, "image") as stream:
            header = parse_header(stream)
        _check_header(header, path, "image")
    except BadFileError:
        read_image(path)  # whose error says more
        raise
    return header


def unusual_kinds(image: Path, mask: Path | None, channels: int) -> list[tuple[str, Path]]:
    """Return what is not plain 8-bit RGB in an image, by the keys of ``KINDS``, with its file.

    An EXIF orientation counts if image and mask differ in it.

    Args:
        image: the file of the image.
        mask: that of its mask; None: it is annotated.
        channels: number of channels that the network sees.

    Raises:
        BadFileError: the header of the image cannot be read.
    """
    header, mask_orientation = read_header(image), 1
    kinds = [(kind, image) for kind in header.changes(channels) if kind != ROTATED]
    if mask is None:
        return kinds + [(ROTATED_ANNOTATION, image)] * (header.orientation != 1)
    with suppress(BadFileError), _open(mask, "mask") as stream:
        mask_orientation = parse_header(stream).orientation
    if header.orientation != mask_orientation:
        kinds.append((ROTATED, image if header.orientation != 1 else mask))
    return kinds


def size_mismatch_error(path: Path, mask: tuple[int, ...], image: Path) -> BadFileError:
    """Return the error of a mask at ``path`` whose shape differs from its image's shape."""
    header = read_header(image)
    height, width = header.size
    rotated = mask[:2] == header.shown_size != header.size
    return BadFileError(
        "sizes differ",
        path,
        f"mask {mask[1]} x {mask[0]}, but its image is {width} x {height} pixels (width x height)"
        + ", with a rotation in its EXIF header, which is not applied" * rotated,
        "Save the image rotated and without the header, for example with mogrify -auto-orient."
        if rotated
        else "Both must have the same size: export the mask at the image's size.",
    )


@cache
def _set_up_libraries(is_command: bool) -> None:
    """Let a command read images of up to ``MAX_PIXELS``, in parallel, each by one thread.

    Other programs have settings of their own: the limit and the warnings of Pillow, the threads of
    OpenCV.
    """
    if is_command:
        Image.MAX_IMAGE_PIXELS = None
        warnings.filterwarnings("ignore", module=r"PIL\.")
        cv2.setNumThreads(0)


@contextmanager
def _open(path: ImagePath, role: Role) -> Iterator[BinaryIO]:
    """Open a file and report whatever the block cannot decode.

    Raises:
        BadFileError: the file is missing, empty or no regular file, or the block has raised
            anything: a damaged file makes Pillow, OpenCV and NumPy raise errors of a dozen types.
    """
    _set_up_libraries(script_name() is not None)
    try:
        if not isinstance(path, Path):
            if not path.size:
                raise bad_file("empty {role} file", path, role)
            yield io.BytesIO(path.read_bytes())
            return
        status = path.stat()
        if not S_ISREG(status.st_mode):
            kind = "a folder" if S_ISDIR(status.st_mode) else "a device, pipe or socket"
            raise bad_file("no {role} file", path, role, found=kind)
        if not status.st_size:
            raise bad_file("empty {role} file", path, role)
        with path.open("rb") as stream:
            yield stream
    except BadFileError:
        raise
    except FileNotFoundError:
        raise bad_file("missing {role}", path, role) from None
    except UnidentifiedImageError:
        raise bad_file("no image", path, role) from None
    except NoTiffError as error:
        raise bad_file("TIFF {role}", path, role, found=error) from None
    except NoHeifError:
        raise bad_file("HEIC {role}", path, role) from None
    except Image.DecompressionBombError as error:
        text = f"{str(error).partition(',')[0]}, which is PIL.Image.MAX_IMAGE_PIXELS"
        raise bad_file("too large {role}", path, role, found=text) from None
    except MemoryError:
        text = f"the {role} needs more memory than is available"
        raise bad_file("too large {role}", path, role, found=text) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # Pillow's have none
            raise bad_file("unreadable {role}", path, role, found=error.strerror) from None
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise bad_file("undecodable {role}", path, role, found=reason) from None


def _check_header(header: Header, path: ImagePath, role: Role) -> None:
    """Raise BadFileError for an image of a kind or size that is not read."""
    height, width = header.size
    if height * width > MAX_PIXELS:
        text = f"{width} x {height} pixels by its header; {MAX_PIXELS // 10**6} megapixels are read"
        raise bad_file("too large {role}", path, role, found=text)
    if role == "mask":
        if header.several:
            raise bad_file("several masks", path)
        if not 1 <= header.channels <= 4:
            raise bad_file("too many channels", path, found=header.channels)


def _read(stream: BinaryIO, path: ImagePath, role: Role) -> tuple[Header, bytes]:
    """Return the header and all bytes of a file, checked."""
    data = b""
    if stream.read(len(PNG)) == PNG:  # before its header is parsed, for an error that says more
        stream.seek(0)
        data = stream.read()
        _check_png(data, path, role)
    stream.seek(0)
    header = parse_header(stream)
    _check_header(header, path, role)
    return header, data or stream.read()


def _decode_jpeg(data: bytes, path: ImagePath, role: Role, colors: str) -> Pixels:
    # OpenCV and Pillow decode most damaged JPEGs without an error; simplejpeg also raises on
    # libjpeg's warnings, and is as fast.
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        _check_header(Header((height, width), 3, 8), path, role)
        return np.asarray(simplejpeg.decode_jpeg(data, colors, strict=True), np.uint8)
    except ValueError as error:
        if "Premature end" in str(error):
            raise bad_file("truncated {role}", path, role, found="JPEG") from None
        if "header" in str(error).lower():
            raise bad_file("no image", path, role) from None
        text = f"JPEG is corrupt ({str(error).strip()})"
        raise bad_file("corrupt {role}", path, role, found=text) from None


def _load(data: bytes, header: Header) -> Image.Image:
    """Return a decoded image of Pillow.

    Raises:
        Exception: the file is damaged.
    """
    with _silent_stderr() if header.compressed else nullcontext():
        image = Image.open(io.BytesIO(data), formats=pillow_formats(data[:12]))
        image.load()
    if data.startswith(PNG):
        last = image.crop((0, max(0, image.height - 2), image.width, image.height))
        if not all(row.any() for row in np.asarray(last)):  # missing rows are zeros
            _check_pixels(data)
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


def _check_decodable(data: bytes, header: Header) -> None:
    """Raise what Pillow does for a damaged file, which OpenCV prints or passes over."""
    with suppress(UnidentifiedImageError):  # raised for some TIFFs that OpenCV decodes
        _load(data, header)


def _decode_deep(data: bytes, *, color: bool = True) -> Values:
    """Return the values of an image of more than 8 bits, ``(H, W, 3)``, or with all channels."""
    if data.startswith(PNG):  # without comments, profiles and the like, of which libpng prints
        kept = [data[s:e] for name, s, e in _chunks(data) if name[:1].isupper()]
        data = PNG + b"".join(kept)
    # not IMREAD_COLOR_RGB: OpenCV 5.0 returns wrong values with it for TIFFs of 3 x 16 bits
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR_BGR | cv2.IMREAD_IGNORE_ORIENTATION
    values = cv2.imdecode(np.frombuffer(data, np.uint8), flags if color else cv2.IMREAD_UNCHANGED)
    if values is None:
        raise UnidentifiedImageError
    values = np.atleast_3d(values)
    channels = values.shape[2]  # OpenCV has blue first
    return values if channels < 3 else values[..., [2, 1, 0, *range(3, channels)]]


def _read_npy(path: Path) -> Values:
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "buif":
        shape = " x ".join(map(str, values.shape)) or "no"
        raise bad_file(
            "array that is no mask", path, found=f"{shape} entries of type {values.dtype}"
        )
    return np.array(values)


def _as_bytes(values: Values, mode: str, path: Path) -> Pixels:
    """Return the values of a mask as bytes; raises BadFileError unless they are 0 to 255."""
    if values.dtype not in (np.uint8, np.bool_) and values.size:
        if values.dtype.kind == "f" and not (values == np.rint(values)).all():
            raise bad_file("fractions in a mask", path, found=mode)
        smallest, largest = int(values.min()), int(values.max())
        if smallest < 0 or largest > 255:
            found = f"from {smallest}" if smallest < 0 else f"up to {largest}"
            raise bad_file("16-bit mask", path, found=f"{found} (mode {mode})")
    return np.ascontiguousarray(values, np.uint8)


def _chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Return name, start and end of each chunk of a PNG, up to its end or an incomplete one."""
    chunks, start, name = list[tuple[bytes, int, int]](), len(PNG), b""
    while name != b"IEND" and start + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        end = start + 12 + int(length)
        if end > len(data):
            break
        chunks.append((name, start, end))
        start = end
    return chunks


def _check_png(data: bytes, path: ImagePath, role: Role) -> None:
    """Raise BadFileError for a PNG that is truncated, or whose checksums are wrong.

    Decoders do not look at all of them.
    """
    chunks, content = _chunks(data), memoryview(data)
    if any(
        zlib.crc32(content[start + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]
        for _, start, end in chunks
    ):
        found = "PNG is corrupt (a checksum is wrong)"
        raise bad_file("corrupt {role}", path, role, found=found)
    if not chunks or chunks[-1][0] != b"IEND":
        raise bad_file("truncated {role}", path, role, found="PNG")
    if data[25] == 3 and all(name != b"PLTE" for name, _, _ in chunks):
        raise bad_file("corrupt {role}", path, role, found="PNG has no palette")


ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
         (1, 0, 2, 1))  # fmt: skip
"""First row and column, and their steps, in the passes of an interlaced PNG."""


def _check_pixels(data: bytes) -> None:
    """Raise ValueError unless a PNG has the pixels of all its rows: decoders do not look."""
    width, height, bits, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits *= {2: 3, 4: 2, 6: 4}.get(color, 1)
    expected = 0
    for top, left, down, right in ADAM7 if interlaced else ((0, 0, 1, 1),):
        rows, columns = -((top - height) // down), -((left - width) // right)
        expected += rows * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
    pixels = b"".join(data[s + 8 : e - 4] for name, s, e in _chunks(data) if name == b"IDAT")
    inflater, found = zlib.decompressobj(), 0
    while pixels and found < expected:
        found += len(inflater.decompress(pixels, 1 << 22))
        pixels = inflater.unconsumed_tail
    if found < expected:
        raise ValueError(f"{found} of {expected} bytes of pixels")
