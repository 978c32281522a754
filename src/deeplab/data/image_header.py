"""Headers of image and mask files: size, channels, bits, and what is not plain 8-bit RGB."""

from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

Role = Literal["image", "mask"]

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read; others may run programs, as EPS does."""

MAX_PAGES = 1000
"""Largest number of directories of a TIFF file that are looked at."""

Image.MAX_IMAGE_PIXELS = None  # ``MAX_PIXELS`` takes the place of Pillow's warnings and errors
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # for large color profiles

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262  # TIFF's tags
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Names of the kinds of HEIC files; AVIF files have another name."""
ORIENTATION, CHANNELS, PLANES, SAMPLE_FORMAT = 274, 277, 284, 339
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
    planes: bool = False
    """True for a TIFF whose channels lie one after the other."""
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


class NoHeifError(Exception):
    """A HEIC image, which only the package pillow-heif decodes."""


def pillow_formats(start: bytes) -> tuple[str, ...]:
    """Return the formats that a file may have, by Pillow's names.

    Args:
        start: its first bytes, 12 or more.

    Raises:
        NoHeifError: it needs a package that is not installed.
    """
    if start[4:8] != b"ftyp" or start[8:12] not in HEIF_BRANDS:
        return FORMATS
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise NoHeifError from None
    register_heif_opener()
    return ("HEIF",)


def parse_header(stream: BinaryIO) -> Header:
    """Return the header of an image; the stream is at its beginning before and after.

    Raises:
        UnidentifiedImageError: the file is not an image.
        NoHeifError: it needs a package that is not installed.
        Exception: the header is damaged.
    """
    start = stream.read(26)
    stream.seek(0)
    header = _parse_tiff(stream) if start.startswith(TIFF) else _parse_with_pillow(stream, start)
    stream.seek(0)
    return header


def _parse_with_pillow(stream: BinaryIO, start: bytes) -> Header:
    with Image.open(stream, formats=pillow_formats(start)) as image:
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
        planes=tags.get(PLANES, 1) == 2 and channels > 1,
        compressed=tags.get(COMPRESSION, 1) != 1,
    )


def _tiff_directories(stream: BinaryIO) -> Iterator[dict[int, int]]:
    """Yield the integers of each directory of a TIFF file by tag; of several the first.

    Raises:
        Exception: the file is damaged.
    """
    start = stream.read(16)
    directory = ImageFileDirectory_v2(start if b"+" in start[2:4] else start[:8])
    seen: set[int] = set()
    while (offset := directory.next) and offset not in seen and len(seen) < MAX_PAGES:
        seen.add(offset)
        stream.seek(offset)
        directory.load(stream)
        if directory.next == offset:  # Pillow has passed over an error
            raise EOFError("directory of tags")
        values = {tag: value for tag, value in directory.items() if tag <= SAMPLE_FORMAT}
        firsts = {tag: v[0] if isinstance(v, tuple) and v else v for tag, v in values.items()}
        yield {tag: value for tag, value in firsts.items() if isinstance(value, int)}
