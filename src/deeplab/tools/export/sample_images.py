"""Images for the comparison of a file with the network: the run's, or random ones."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeplab.data.bad_files import BadFileError
from deeplab.data.image_io import read_image
from deeplab.data.layouts.base import data_layout, split_items
from deeplab.data.settings import SegmentationSettings
from deeplab.utils.errors import UserError
from deeplab.utils.sampling import sample_evenly

Pixels = NDArray[np.uint8]

BLOB_SIZE = 9
"""Side in pixels of the single-color squares in a random image."""


def sample_images(
    data: SegmentationSettings, size: tuple[int, int], count: int, root: str | None
) -> tuple[list[Pixels], str]:
    """Return images ``(H, W, C)`` and a description of their origin.

    Args:
        data: the run's data set.
        size: approximate height and width of random images.
        count: maximum number of images, spread over the validation split.
        root: the folder that the user set with ``data.root``; it must hold the images.

    Raises:
        UserError: ``root`` does not hold the images.
    """
    data = data.model_copy(update={"root": root or data.root})
    try:
        # Checked first: the layout of drawn scenes would create the folder and draw them in it.
        if not Path(data.root).expanduser().is_dir():
            raise UserError(
                f"data.root={data.root}: no such folder. Set it to the folder of the images."
            )
        items = split_items(data_layout(data), data.val_split)
        images = [read_image(i.image, data.pixel_format) for i in sample_evenly(items, count)]
        return images, f"{len(images)} images of split {data.val_split}"
    except (UserError, BadFileError) as error:
        if root:
            raise
        images = _random_images(size, count, data.pixel_format.channels)
        return images, f"{count} random images, since the run's images are not available: {error}"


def _random_images(size: tuple[int, int], count: int, channels: int) -> list[Pixels]:
    """Return images of colored squares, smaller and larger than ``size``, none of them square."""
    generator = np.random.default_rng(0)
    images = []
    for i in range(count):
        height, width = (int(side * (0.7 + 0.5 * ((i + j) % 2))) for j, side in enumerate(size))
        blobs = generator.integers(
            0, 256, (-(-height // BLOB_SIZE), -(-width // BLOB_SIZE), channels), np.uint8
        )
        image = np.kron(blobs, np.ones((BLOB_SIZE, BLOB_SIZE, 1), np.uint8))
        images.append(image[: height + i, : width - i])
    return images
