"""Image and mask files: opening them, what their headers say, and which of it is read."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO, Literal, NamedTuple

from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from deeplab.data.bad_files import BadFileError

Role = Literal["image", "mask"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read; others may run programs, as EPS does."""

MAX_PIXELS = 2**30
"""Largest number of pixels of an image, which is also OpenCV's."""

MAX_PAGES = 1000
"""Largest number of directories of a TIFF file that are looked at."""

Image.MAX_IMAGE_PIXELS = None  # ``MAX_PIXELS`` takes the place of Pillow's warnings and errors
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # for large color profiles

DOWNLOAD_AGAIN = "Download it again or remove it from the split"

MAX_TAGS = 1000
"""Largest number of tags in a directory of a TIFF file; a damaged one may claim more."""

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262  # TIFF's tags
ORIENTATION, CHANNELS, SAMPLE_FORMAT = 274, 277, 339
UNSIGNED, FLOAT = 1, 3  # values of SAMPLE_FORMAT
GRAY, CMYK = (0, 1), 5  # values of PHOTOMETRIC
NO_PAGE = 5  # bits of SUBFILE: a preview or a transparency mask

TRANSPOSED_ORIENTATIONS = range(5, 9)
"""EXIF orientations that exchange rows and columns."""

ROTATED = "EXIF orientation"

KINDS = {
    ROTATED: (
        "the EXIF header asks for a rotation, which is not applied",
        "If image and mask do not lie on each other without it, save the image rotated and "
        "without the header, for example with mogrify -auto-orient.",
    ),
    "gray image": (
        "a gray image; its three channels are made equal",
        "Nothing to do if it is meant to be gray.",
    ),
    "CMYK image": (
        "a CMYK image, converted without its color profile",
        "Save it as RGB if its colors matter.",
    ),
    "16-bit image": (
        "more than 8 bits per channel; the upper 8 bits of data.image_bits are read",
        "Set data.image_bits if its values use another number of bits.",
    ),
    "alpha channel": (
        "an alpha or fourth channel, which is dropped",
        "Save it without that channel, on the background of your choice.",
    ),
    "several images": (
        "several frames or pages, of which the first is read",
        "Save the others as files of their own if they matter.",
    ),
}
"""Images that are not plain 8-bit RGB: how they are read, and the remedy."""


QUIET_KINDS = ("gray image", "16-bit image")
"""Kinds that only the doctor reports: most gray images are meant to be, and for the bits of deep
images there is a key."""


class Header(NamedTuple):
    """What the header of an image file says."""

    size: tuple[int, int]
    """Height and width of the pixels that are read."""
    channels: int
    bits: int
    """Bits per channel in the file."""
    sample_format: int = UNSIGNED
    """Kind of numbers, as TIFF's tag has it."""
    gray: bool = False
    cmyk: bool = False
    extra_channel: bool = False
    """True for transparency or for a channel beyond those of the colors."""
    several: bool = False
    """True for more than one frame or page."""
    compressed: bool = False
    """True for a TIFF with compressed pixels."""
    orientation: int = 1
    """EXIF orientation that is not applied to the pixels; 1 is upright."""

    @property
    def deep(self) -> bool:
        """True for more than 8 bits per channel."""
        return self.bits > 8

    @property
    def kinds(self) -> list[str]:
        """The keys of ``KINDS`` that apply."""
        applies = {
            ROTATED: self.orientation != 1,
            "gray image": self.gray,
            "CMYK image": self.cmyk,
            "16-bit image": self.deep,
            "alpha channel": self.extra_channel,
            "several images": self.several,
        }
        return [kind for kind, applied in applies.items() if applied]


@contextmanager
def open_file(path: Path, role: Role) -> Iterator[BinaryIO]:
    """Open a file and report whatever the block cannot decode.

    Raises:
        BadFileError: the file is missing, empty or no regular file, or the block has raised
            anything: a damaged file makes Pillow, OpenCV and NumPy raise errors of a dozen types.
    """
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            kind = "a folder" if S_ISDIR(status.st_mode) else "a device, pipe or socket"
            raise BadFileError(
                f"no {role} file", path, f"this is {kind}, not a file", "Remove it from the split."
            )
        if not status.st_size:
            raise BadFileError(
                f"empty {role} file", path, "this file is empty", f"{DOWNLOAD_AGAIN}."
            )
        with path.open("rb") as stream:
            yield stream
    except BadFileError:
        raise
    except FileNotFoundError:
        raise missing_file_error(path, role) from None
    except UnidentifiedImageError:
        raise not_an_image_error(path, role) from None
    except MemoryError:
        raise BadFileError(
            f"too large {role}",
            path,
            f"the {role} needs more memory than is available",
            "Cut it into tiles, or run this on a machine with more memory.",
        ) from None
    except OSError as error:
        if error.errno is None:  # Pillow's
            raise _undecodable_error(path, role, error) from None
        raise BadFileError(
            f"unreadable {role}",
            path,
            f"the {role} cannot be read ({error.strerror})",
            "Check the file and its permissions.",
        ) from None
    except Exception as error:
        raise _undecodable_error(path, role, error) from None


def parse_header(stream: BinaryIO) -> Header:
    """Return the header of an image; the stream is at its beginning before and after.

    Raises:
        UnidentifiedImageError: the file is not an image.
        Exception: the header is damaged.
    """
    start = stream.read(26)
    stream.seek(0)
    header = _parse_tiff(stream) if start.startswith(TIFF) else _parse_with_pillow(stream, start)
    stream.seek(0)
    return header


def check_readable(header: Header, path: Path, role: Role) -> None:
    """Raise BadFileError for an image of a kind or size that is not read."""
    height, width = header.size
    if height * width > MAX_PIXELS:
        raise BadFileError(
            f"too large {role}",
            path,
            f"{width} x {height} pixels by its header; up to {MAX_PIXELS // 10**6} megapixels are "
            "read",
            "Cut it into tiles.",
        )
    if not 1 <= header.channels <= 4:
        raise BadFileError(
            "too many channels",
            path,
            f"{header.channels} channels; 1 to 4 are read",
            "Save the three channels that the network should see as an RGB image.",
        )
    if role == "mask":
        if header.several:
            raise BadFileError(
                "several masks",
                path,
                "this mask has several frames or pages; one is expected",
                "Save the one with the classes as a PNG.",
            )
        return
    if header.sample_format == FLOAT or header.bits > 16:
        values = "floating-point values" if header.sample_format == FLOAT else "integers"
        raise BadFileError(
            "values of 32 bits",
            path,
            f"{values} of {header.bits} bits; integers of 8 to 16 bits are read",
            "Convert all images to 8 or 16 bits by the same scale.",
        )


def missing_file_error(path: Path, role: str) -> BadFileError:
    """Return the error of a file that does not exist; ``role`` is image or mask."""
    return BadFileError(
        f"missing {role}",
        path,
        f"the {role} does not exist",
        "Add the file or remove its line from the split list.",
    )


def not_an_image_error(path: Path, role: Role = "image") -> BadFileError:
    """Return the error of a file of another kind."""
    return BadFileError(
        "no image" if role == "image" else "unreadable mask",
        path,
        f"this file cannot be decoded as {'an image' if role == 'image' else 'a mask'}",
        f"{DOWNLOAD_AGAIN}, or convert it.",
    )


def _undecodable_error(path: Path, role: Role, error: Exception) -> BadFileError:
    reason = " ".join(str(error).split())[:150] or type(error).__name__
    return BadFileError(
        f"unreadable {role}", path, f"the {role} cannot be decoded ({reason})", f"{DOWNLOAD_AGAIN}."
    )


def _parse_with_pillow(stream: BinaryIO, start: bytes) -> Header:
    with Image.open(stream, formats=FORMATS) as image:
        mode, bands = image.mode, image.getbands()
        bits = 16 if mode.startswith("I;16") else {"1": 1, "I": 32, "F": 32}.get(mode, 8)
        if image.format == "PNG":
            bits = start[24]
        elif image.format == "PPM" and mode == "I":
            bits = 16
        return Header(
            size=(image.height, image.width),
            channels=len(bands),
            bits=bits,
            sample_format=FLOAT if mode == "F" else UNSIGNED,
            gray=mode in ("1", "L", "LA", "I", "F") or mode.startswith("I;16"),
            cmyk=mode == "CMYK",
            extra_channel=bands[-1] in ("A", "a") or "transparency" in image.info,
            # MPO: a photo of a phone, with a preview or a depth map as its second image
            several=getattr(image, "is_animated", False) and image.format != "MPO",
            orientation=_exif_orientation(image),
        )


def _exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 if there is none that can be read."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the pixels to look behind them
    try:
        value = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1
    return value if 1 <= value <= 8 else 1


def _parse_tiff(stream: BinaryIO) -> Header:
    """Return the header of a TIFF file, also of kinds that Pillow does not open."""
    pages = [tags for tags in _tiff_directories(stream) if not tags.get(SUBFILE, 0) & NO_PAGE]
    tags = pages[0] if pages else {}
    if WIDTH not in tags or HEIGHT not in tags:
        raise UnidentifiedImageError
    channels, colors = tags.get(CHANNELS, 1), tags.get(PHOTOMETRIC, 1)
    size = tags[HEIGHT], tags[WIDTH]
    return Header(
        size=size[::-1] if tags.get(ORIENTATION, 1) in TRANSPOSED_ORIENTATIONS else size,
        channels=channels,
        bits=tags.get(BITS, 1),
        sample_format=tags.get(SAMPLE_FORMAT, UNSIGNED),
        gray=channels < 3 and colors in GRAY,
        cmyk=colors == CMYK,
        extra_channel=channels in ((2,) if colors in GRAY else (2, 4)) and colors != CMYK,
        several=len(pages) > 1,
        compressed=tags.get(COMPRESSION, 1) != 1,
    )


def _tiff_directories(stream: BinaryIO) -> list[dict[int, int]]:
    """Return the numbers in each directory of a TIFF file by tag; of several the first.

    Raises:
        Exception: the file is damaged.
    """
    start = stream.read(16)
    order, big = "<" if start.startswith(b"II") else ">", b"+" in start[2:4]
    number, entry = ("Q", "HHQ8s") if big else ("I", "HHI4s")
    sizes = {1: "B", 3: "H", 4: "I", 16: "Q"}  # formats of struct by TIFF's types
    offset = struct.unpack_from(order + number, start, 8 if big else 4)[0]
    seen: dict[int, dict[int, int]] = {}
    while offset and offset not in seen and len(seen) < MAX_PAGES:
        stream.seek(offset)
        count = struct.unpack(order + ("Q" if big else "H"), stream.read(8 if big else 2))[0]
        if count > MAX_TAGS:
            raise ValueError(f"{count} tags")
        table = stream.read(struct.calcsize(order + entry) * count)
        following = stream.read(struct.calcsize(number))
        seen[offset] = tags = {}
        for tag, kind, length, value in struct.iter_unpack(order + entry, table):
            if kind in sizes and length:
                size = struct.calcsize(order + sizes[kind])
                if length * size > len(value):  # the entry holds the position of its values
                    stream.seek(struct.unpack(order + number, value)[0])
                    value = stream.read(size)
                tags[tag] = struct.unpack(order + sizes[kind], value[:size])[0]
        offset = struct.unpack(order + number, following)[0]
    return list(seen.values())
