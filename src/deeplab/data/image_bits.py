"""Bit depth of the images of a data set, which is one number for all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from deeplab.data.bad_files import BadFileError
from deeplab.data.image_io import fewest_bits, largest_value, read_header
from deeplab.data.settings import DataSettings
from deeplab.utils.parallel import is_first_process, map_in_threads

D = TypeVar("D", bound=DataSettings)

MAX_SAMPLES = 200
"""Number of images that are looked at, at even distances."""


def with_image_bits(settings: D, images: Sequence[Path]) -> D:
    """Return the settings with the number of bits that the values of deep images use.

    Cameras, microscopes and satellites write 10 to 14 bits into files of 16. If a sample of the
    images has files of more than 8 bits, the number is the smallest one that holds their largest
    value, and is printed; a brighter image is an error when it is read.
    """
    if settings.image_bits is not None:
        return settings
    step = max(1, -(-len(images) // MAX_SAMPLES))
    sample = images[::step]
    values = [value for value in map_in_threads(_largest_if_deep, sample) if value is not None]
    if not values:
        return settings
    bits, largest = fewest_bits(max(values)), max(values)
    if is_first_process():
        print(
            f"Images: {len(values)} of {len(sample)} checked ones have more than 8 bits per "
            f"channel, with values up to {largest}: they are read as images of {bits} bits "
            f"(data.image_bits={bits}; set another number if it is wrong)"
        )
    return settings.model_copy(update={"image_bits": bits})


def _largest_if_deep(path: Path) -> int | None:
    try:
        return largest_value(path) if read_header(path).deep else None
    except BadFileError:  # reported when it is read
        return None
