"""Reading of image and mask files.

Nothing is repaired silently: a file that cannot be decoded to its last pixel is an error.
"""

from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import Pixels

DOWNLOAD_AGAIN = "Download it again or remove it from the split"


def read_image(path: Path) -> Pixels:
    """Return an RGB image ``(H, W, 3)``.

    Gray becomes three equal channels, alpha is dropped, 16 bits become 8. An EXIF rotation is
    ignored, since masks have none.

    Raises:
        BadFileError: the file is missing, not an image, truncated or corrupt.
    """
    data = _bytes(path, "image")
    if data.startswith(b"\xff\xd8"):
        # OpenCV and Pillow decode most damaged JPEGs without an error; simplejpeg also raises on
        # libjpeg's warnings, and is as fast.
        try:
            return np.asarray(simplejpeg.decode_jpeg(data, "RGB", strict=True), np.uint8)
        except ValueError as error:
            raise _jpeg_error(path, str(error)) from None
    _check_png_end(data, path, "image")
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise _not_an_image_error(path)
    return np.asarray(image, dtype=np.uint8)


def read_mask(path: Path, *, colored: bool = False) -> Pixels:
    """Return the values of a mask: ``(H, W)``, or ``(H, W, 3)`` with ``colored``.

    Values are the indices of a palette PNG, or gray values; a color image whose channels are equal
    counts as gray.

    Raises:
        BadFileError: the file is missing, not an image, damaged, or has colors or 16 bits where
            indices are expected.
    """
    data = _bytes(path, "mask")
    _check_png_end(data, path, "mask")
    try:
        with Image.open(path) as mask:
            if colored:
                return np.array(mask.convert("RGB"), dtype=np.uint8)
            if mask.mode == "P":
                return np.array(mask, dtype=np.uint8)
            values = np.array(mask)
    except OSError as error:
        raise BadFileError(
            "unreadable mask", path, f"the mask cannot be decoded ({error})", f"{DOWNLOAD_AGAIN}."
        ) from None
    if values.ndim == 3 and (values[..., :1] == values[..., :3]).all():
        values = values[..., 0]
    if values.ndim == 3:
        raise BadFileError(
            "color mask",
            path,
            f"this is a color mask (mode {mask.mode}); class indices are expected",
            "Convert it to a palette or 8-bit gray PNG of class indices, or use data=folder, which "
            "also reads colors.",
        )
    if values.dtype != np.bool_ and values.size and (values.max() > 255 or values.min() < 0):
        raise BadFileError(
            "16-bit mask",
            path,
            f"this mask has values up to {values.max()} (mode {mask.mode}); 0 to 255 are expected",
            "Convert it to an 8-bit PNG of class indices.",
        )
    return values.astype(np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Return the height and width in an image file's header.

    Raises:
        BadFileError: the file is missing or not an image.
    """
    if not path.is_file():
        raise missing_file_error(path, "image")
    if not path.stat().st_size:
        raise _empty_file_error(path, "image")
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError:
        raise _not_an_image_error(path) from None


def size_mismatch_error(path: Path, mask: tuple[int, ...], image: tuple[int, ...]) -> BadFileError:
    """Return the error of a mask at ``path`` whose shape differs from its image's shape."""
    return BadFileError(
        "sizes differ",
        path,
        f"mask {mask[0]} x {mask[1]}, but its image is {image[0]} x {image[1]} (height x width)",
        "Both must have the same size: export the mask at the image's size.",
    )


def missing_file_error(path: Path, role: str) -> BadFileError:
    """Return the error of a file that does not exist; ``role`` is image or mask."""
    return BadFileError(
        f"missing {role}",
        path,
        f"the {role} does not exist",
        "Add the file or remove its line from the split list.",
    )


def _bytes(path: Path, role: str) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise missing_file_error(path, role) from None
    except OSError as error:
        raise BadFileError(
            f"unreadable {role}",
            path,
            f"the {role} cannot be read ({error.strerror})",
            "Check the file and its permissions.",
        ) from None
    if not data:
        raise _empty_file_error(path, role)
    return data


def _empty_file_error(path: Path, role: str) -> BadFileError:
    return BadFileError(f"empty {role} file", path, "this file is empty", f"{DOWNLOAD_AGAIN}.")


def _check_png_end(data: bytes, path: Path, role: str) -> None:
    """Raise BadFileError for a truncated PNG, which OpenCV decodes without an error."""
    if data.startswith(b"\x89PNG") and b"IEND\xaeB`\x82" not in data[-64:]:
        raise BadFileError(
            f"truncated {role}",
            path,
            "this PNG is truncated (its end is missing)",
            f"{DOWNLOAD_AGAIN}.",
        )


def _jpeg_error(path: Path, message: str) -> BadFileError:
    if "Premature end" in message:
        return BadFileError(
            "truncated image",
            path,
            "this JPEG is truncated (its end is missing)",
            f"{DOWNLOAD_AGAIN}.",
        )
    if "header" in message.lower():
        return _not_an_image_error(path)
    return BadFileError(
        "corrupt image",
        path,
        f"this JPEG is corrupt ({message.strip()})",
        f"{DOWNLOAD_AGAIN}; if it looks right, save it again.",
    )


def _not_an_image_error(path: Path) -> BadFileError:
    return BadFileError(
        "no image",
        path,
        "this file cannot be decoded as an image",
        f"{DOWNLOAD_AGAIN}, or convert it.",
    )
