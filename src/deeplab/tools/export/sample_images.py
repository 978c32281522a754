"""The images on which a file and the network are compared: those of the run, or random ones."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeplab.config.build_data import data_layout
from deeplab.config.schema.data import DataConfig
from deeplab.data.bad_files import BadFileError
from deeplab.data.dataset import spread
from deeplab.data.image_io import read_image
from deeplab.data.layouts.base import split_items
from deeplab.utils.errors import UserError

Pixels = NDArray[np.uint8]

BLOB = 9
"""Side of an area of one color in a random image."""


def sample_images(
    data: DataConfig, size: tuple[int, int], count: int, root: str | None
) -> tuple[list[Pixels], str]:
    """RGB images ``(H, W, 3)``, and in words where they are from.

    Args:
        data: the run's data set.
        size: height and width that random images have about.
        count: at most so many, at even distances in the validation split.
        root: the folder that a person has named, which then is to have the images.

    Raises:
        UserError: it has not.
    """
    data = data.model_copy(update={"root": root or data.root})
    try:
        if not Path(data.root).expanduser().is_dir():  # drawn scenes would be drawn there
            raise UserError(f"data.root={data.root}: this folder does not exist.")
        items = split_items(data_layout(data), data.val_split)
        images = [read_image(item.image) for item in spread(items, count)]
        return images, f"{len(images)} images of split {data.val_split}"
    except (UserError, BadFileError) as error:
        if root:
            raise
        images = _random_images(size, count)
        return images, f"{count} random images, for those of the run are not here: {error}"


def _random_images(size: tuple[int, int], count: int) -> list[Pixels]:
    """Blobs of color in images smaller and larger than ``size``, none of them square."""
    generator = np.random.default_rng(0)
    images = []
    for i in range(count):
        height, width = (int(side * (0.7 + 0.5 * ((i + j) % 2))) for j, side in enumerate(size))
        blobs = generator.integers(0, 256, (-(-height // BLOB), -(-width // BLOB), 3), np.uint8)
        image = np.kron(blobs, np.ones((BLOB, BLOB, 1), np.uint8))
        images.append(image[: height + i, : width - i])
    return images
