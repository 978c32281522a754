"""Image and mask files to arrays. Nothing is silently repaired: a file that cannot be decoded to
its last pixel is refused."""

from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import Pixels

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

FETCH_AGAIN = "Fetch it again or take it out of the split"


def read_image(path: Path) -> Pixels:
    """An RGB image ``(H, W, 3)``, without regard to an EXIF rotation (masks know none).

    Gray becomes three equal channels, alpha is dropped, 16 bits become 8.

    Raises:
        BadFileError: it is missing, no image, truncated or corrupt.
    """
    data = _bytes(path, "image")
    if data.startswith(b"\xff\xd8"):
        # OpenCV and Pillow decode most damaged JPEGs without a word; this raises on libjpeg's
        # warnings too, and takes no longer.
        try:
            return np.asarray(simplejpeg.decode_jpeg(data, "RGB", strict=True), np.uint8)
        except ValueError as error:
            raise _jpeg_problem(path, str(error)) from None
    _check_png(data, path, "image")
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise _no_image(path)
    return np.asarray(image, dtype=np.uint8)


def read_mask(path: Path, *, colored: bool = False) -> Pixels:
    """The values of a mask: ``(H, W)``, or ``(H, W, 3)`` with ``colored``.

    Values are the indices of a palette PNG, or gray values; a color picture whose channels are
    equal counts as gray.

    Raises:
        BadFileError: it is missing, no image, damaged, or of another kind.
    """
    data = _bytes(path, "mask")
    _check_png(data, path, "mask")
    try:
        with Image.open(path) as mask:
            if colored:
                return np.array(mask.convert("RGB"), dtype=np.uint8)
            if mask.mode == "P":
                return np.array(mask, dtype=np.uint8)
            values = np.array(mask)
    except OSError as error:
        raise BadFileError(
            "unreadable mask", path, f"the mask cannot be decoded ({error})", f"{FETCH_AGAIN}."
        ) from None
    if values.ndim == 3 and (values[..., :1] == values[..., :3]).all():
        values = values[..., 0]
    if values.ndim == 3:
        raise BadFileError(
            "color mask",
            path,
            f"a color mask (mode {mask.mode}) where class indices are expected",
            "Convert it to a palette or 8-bit gray PNG of class indices; data=folder also reads "
            "colors.",
        )
    if values.dtype != np.bool_ and values.size and (values.max() > 255 or values.min() < 0):
        raise BadFileError(
            "16-bit mask",
            path,
            f"values up to {values.max()} (mode {mask.mode}) where 0 to 255 are expected",
            "Convert it to an 8-bit PNG of class indices.",
        )
    return values.astype(np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width from a file's header.

    Raises:
        BadFileError: it is missing or no image.
    """
    if not path.is_file():
        raise missing(path, "image")
    if not path.stat().st_size:
        raise _empty(path, "image")
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError:
        raise _no_image(path) from None


def size_problem(path: Path, mask: tuple[int, ...], image: tuple[int, ...]) -> BadFileError:
    """A mask whose size is not its image's."""
    return BadFileError(
        "sizes differ",
        path,
        f"mask {mask[0]} x {mask[1]}, but its image is {image[0]} x {image[1]} (height x width)",
        "The two must have the same pixels: export the mask at the image's size.",
    )


def missing(path: Path, what: str) -> BadFileError:
    """A file that is not there."""
    return BadFileError(
        f"missing {what}",
        path,
        f"the {what} does not exist",
        "Put it there or take its line out of the split list.",
    )


def _bytes(path: Path, what: str) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise missing(path, what) from None
    except OSError as error:
        raise BadFileError(
            f"unreadable {what}", path, f"the {what} cannot be read ({error.strerror})", "Mend it."
        ) from None
    if not data:
        raise _empty(path, what)
    return data


def _empty(path: Path, what: str) -> BadFileError:
    return BadFileError(f"empty {what} file", path, "this file is empty", f"{FETCH_AGAIN}.")


def _check_png(data: bytes, path: Path, what: str) -> None:
    """OpenCV decodes a truncated PNG without an error."""
    if data.startswith(b"\x89PNG") and b"IEND\xaeB`\x82" not in data[-64:]:
        raise BadFileError(
            f"truncated {what}", path, "this PNG is truncated (it has no end)", f"{FETCH_AGAIN}."
        )


def _jpeg_problem(path: Path, message: str) -> BadFileError:
    if "Premature end" in message:
        return BadFileError(
            "truncated image", path, "this JPEG is truncated (it has no end)", f"{FETCH_AGAIN}."
        )
    if "header" in message.lower():
        return _no_image(path)
    return BadFileError(
        "corrupt image",
        path,
        f"this JPEG is corrupt ({message.strip()})",
        f"{FETCH_AGAIN}; if it looks right, save it anew.",
    )


def _no_image(path: Path) -> BadFileError:
    return BadFileError(
        "no image", path, "this is no image that can be decoded", f"{FETCH_AGAIN}, or convert it."
    )
