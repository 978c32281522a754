"""Image and mask files: opening them, what their headers say, and which of it is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO, Literal, NamedTuple

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from deeplab.data.bad_files import BadFileError

Role = Literal["image", "mask"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read; others may run programs, as EPS does."""

MAX_PIXELS = 2**30
"""Largest number of pixels of an image, which is also OpenCV's."""

MAX_PAGES = 1000
"""Number of directories of a TIFF file that are followed, since a damaged one may have a loop."""

Image.MAX_IMAGE_PIXELS = None  # ``MAX_PIXELS`` takes the place of Pillow's warnings and errors

DOWNLOAD_AGAIN = "Download it again or remove it from the split"

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # TIFF's sample formats
GRAY, CMYK = (0, 1), 5  # TIFF's photometric interpretations
REDUCED_OR_MASK = 5  # TIFF's subfile types of previews and transparency masks, as bits

KINDS = {
    "EXIF orientation": (
        "the EXIF header asks for a rotation, which is not applied",
        "If its mask was drawn on the rotated image, save the image rotated and without the "
        "header, for example with mogrify -auto-orient.",
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
        "more than 8 bits per channel, reduced to 8",
        "Set data.image_bits to the number of bits that its values use, or scale it to 8 bits.",
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


class Header(NamedTuple):
    """What the header of an image file says."""

    size: tuple[int, int]
    """Height and width of the pixels that are read."""
    channels: int
    bits: int
    """Bits per channel in the file."""
    sample_format: int = UNSIGNED
    """Unsigned integers, signed integers or floating-point numbers, by TIFF's numbers."""
    gray: bool = False
    cmyk: bool = False
    extra_channel: bool = False
    """True for transparency or for a channel beyond those of the colors."""
    several: bool = False
    """True for more than one frame or page."""
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
            "EXIF orientation": self.orientation != 1,
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
    if role == "mask":
        if header.several:
            raise BadFileError(
                "several masks",
                path,
                "this mask has several frames or pages; one is expected",
                "Save the one with the classes as a PNG.",
            )
        return
    if not 1 <= header.channels <= 4:
        raise BadFileError(
            "too many channels",
            path,
            f"{header.channels} channels; 1 to 4 are read",
            "Save the three channels that the network should see as an RGB image.",
        )
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
    """Return the header of a TIFF file, of kinds that Pillow does not open too."""
    start = stream.read(8)
    if start[2] == ord("+") or start[3] == ord("+"):  # BigTIFF
        start += stream.read(8)
    directory = TiffImagePlugin.ImageFileDirectory_v2(start)
    pages: list[dict[int, object]] = []
    for _ in range(MAX_PAGES):
        if not directory.next:
            break
        stream.seek(directory.next)
        directory.load(stream)
        if not pages or not int(directory.get(ExifTags.Base.NewSubfileType, 0)) & REDUCED_OR_MASK:
            pages.append(dict(directory))
    if not pages:
        raise UnidentifiedImageError
    tags: dict[int, object] = pages[0]
    width, height = (
        _number(tags, ExifTags.Base.ImageWidth),
        _number(tags, ExifTags.Base.ImageLength),
    )
    channels = _number(tags, ExifTags.Base.SamplesPerPixel, 1)
    photometric = _number(tags, ExifTags.Base.PhotometricInterpretation, 1)
    orientation = _number(tags, ExifTags.Base.Orientation, 1)
    colors = 4 if photometric == CMYK else 1 if channels < 3 else 3
    return Header(
        size=(width, height) if 5 <= orientation <= 8 else (height, width),  # decoders rotate TIFFs
        channels=channels,
        bits=_number(tags, ExifTags.Base.BitsPerSample, 1),
        sample_format=_number(tags, ExifTags.Base.SampleFormat, UNSIGNED),
        gray=channels < 3 and photometric in GRAY,
        cmyk=photometric == CMYK,
        extra_channel=channels > colors,
        several=len(pages) > 1,
    )


def _number(tags: dict[int, object], tag: int, default: int | None = None) -> int:
    value = tags.get(tag, default)
    return max(value) if isinstance(value, tuple) else int(value)  # type: ignore[call-overload]
