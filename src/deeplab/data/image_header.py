"""Headers of image and mask files: size, channels, bits, and what is not plain 8-bit RGB."""

from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from deeplab.data.orientation import TRANSPOSED_ORIENTATIONS
from deeplab.utils.reading import npy_header

Role = Literal["image", "mask"]

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read; others may run programs, as EPS does."""

MAX_PAGES = 1000
"""Largest number of directories of a TIFF file that are looked at."""

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # for large color profiles

NPY = b"\x93NUMPY"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262  # TIFF's tags
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Names of the kinds of HEIC files; AVIF files have another name."""
ORIENTATION, CHANNELS, PLANES, EXTRA_SAMPLES, SAMPLE_FORMAT = 274, 277, 284, 338, 339
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # values of SAMPLE_FORMAT
UNSPECIFIED = 0  # value of EXTRA_SAMPLES of a channel that is no transparency
GRAY, CMYK = (0, 1), 5  # values of PHOTOMETRIC
NO_PAGE = 5  # bits of SUBFILE: a preview or a transparency mask

ROTATED, ROTATED_ANNOTATION = "EXIF orientation", "EXIF orientation of an annotated image"

KINDS = {
    ROTATED: (
        "the EXIF header asks for a rotation, which is not applied",
        "If image and mask do not lie on each other without it, save the image rotated and "
        "without the header, for example with mogrify -auto-orient.",
    ),
    ROTATED_ANNOTATION: (
        "the EXIF header asks for a rotation; annotations are taken to lie on the rotated image, "
        "as labeling tools show it, unless they record the size of the other",
        "Nothing to do; validation.png of the run shows whether they lie on the objects.",
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
        "more than 8 bits per channel, of which 8 are read as data.image_bits or "
        "data.image_range says",
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
    page: int = 0
    """Number of the page of a TIFF that is read."""
    unnamed: bool = False
    """True for channels that are not those of gray or RGB with or without alpha, or of CMYK."""
    array: bool = False
    """True for a NumPy array, or for a TIFF of channels or numbers that photos do not have."""

    @property
    def shown_size(self) -> tuple[int, int]:
        """Height and width of the image when it is upright."""
        height, width = self.size
        return (width, height) if self.orientation in TRANSPOSED_ORIENTATIONS else (height, width)

    @property
    def deep(self) -> bool:
        """True for more than 8 bits per channel."""
        return self.bits > 8

    def changes(self, channels: int = 3) -> list[str]:
        """Return the keys of ``KINDS`` that apply if the network sees so many channels."""
        color = channels == 3
        applies = {
            ROTATED: self.orientation != 1,
            "gray image": self.gray and color,
            "CMYK image": self.cmyk and color,
            "16-bit image": self.deep,
            "alpha channel": self.extra_channel and channels in (1, 3),
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
    if start.startswith(TIFF_STARTS):
        header = _parse_tiff(stream)
    elif start.startswith(NPY):
        header = _parse_npy(stream)
    else:
        header = _parse_with_pillow(stream, start)
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
    pages = [
        (number, tags)
        for number, tags in enumerate(_tiff_directories(stream))
        if not tags.get(SUBFILE, 0) & NO_PAGE
    ]
    page, tags = pages[0] if pages else (0, {})
    if WIDTH not in tags or HEIGHT not in tags:
        raise UnidentifiedImageError
    channels, colors = tags.get(CHANNELS, 1), tags.get(PHOTOMETRIC, 1)
    bits, sample_format = tags.get(BITS, 1), tags.get(SAMPLE_FORMAT, UNSIGNED)
    size = tags[HEIGHT], tags[WIDTH]
    extra = channels in ((2,) if colors in GRAY else (2, 4)) and colors != CMYK
    unnamed = channels > 4 or (extra and tags.get(EXTRA_SAMPLES) == UNSPECIFIED)
    unnamed = unnamed or (channels == 4 and colors in GRAY)
    planes = tags.get(PLANES, 1) == 2 and channels > 1
    return Header(
        size=size[::-1] if tags.get(ORIENTATION, 1) in TRANSPOSED_ORIENTATIONS else size,
        channels=channels,
        bits=bits,
        sample_format=sample_format,
        gray=channels < 3 and colors in GRAY and not unnamed,
        cmyk=colors == CMYK and not unnamed,
        extra_channel=extra,
        several=len(pages) > 1,
        compressed=tags.get(COMPRESSION, 1) != 1,
        page=page,
        unnamed=unnamed,
        array=unnamed
        or bits > 16
        or sample_format == FLOAT
        or (planes and bits > 8),  # OpenCV returns wrong values
    )


def _parse_npy(stream: BinaryIO) -> Header:
    """Return the header of a NumPy array ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``."""
    shape, dtype = npy_header(stream)
    height, width, channels = arrange_axes(shape)
    kinds = {"f": FLOAT, "i": SIGNED, "u": UNSIGNED, "b": UNSIGNED}
    if dtype.kind not in kinds:
        raise ValueError(f"values of type {dtype}")
    return Header(
        size=(height, width),
        channels=channels,
        bits=8 * dtype.itemsize,
        sample_format=kinds[dtype.kind],
        gray=channels == 1,
        unnamed=channels not in (1, 3),
        array=True,
    )


def arrange_axes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return height, width and channels of an array; the channels are the shorter end of three.

    Raises:
        ValueError: it is no image.
    """
    if len(shape) == 2 and all(shape):
        return shape[0], shape[1], 1
    if len(shape) != 3 or not all(shape) or shape[0] == shape[2]:
        text = " x ".join(map(str, shape)) or "no"
        raise ValueError(
            f"an array of {text} entries; (height, width), (height, width, channels) or (channels, "
            "height, width) are read"
        )
    return shape if shape[2] < shape[0] else (shape[1], shape[2], shape[0])


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
