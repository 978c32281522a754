"""Images for an export: the run's, or random ones."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.config.build_data import build_segmentation_data
from deeplab.config.schema.run import TrainConfig
from deeplab.data.datamodules import SegmentationData
from deeplab.utils.errors import UserError
from deeplab.utils.paths import is_url
from deeplab.utils.sampling import sample_evenly

Pixels = NDArray[np.uint8]

BLOB_SIZE = 9
"""Side in pixels of the single-color squares in a random image."""


class Samples(NamedTuple):
    """Images and where they come from."""

    images: list[Pixels]
    source: str
    reason: str = ""
    """Why they are random."""


def open_images(run: TrainConfig, *, labeled: bool = True) -> SegmentationData:
    """Return the images that a config names, without drawing any.

    Raises:
        UserError: they are not there.
    """
    root = run.data.root
    # Checked first: the layout of drawn scenes would create the folder and draw them in it.
    if not (is_url(root) or Path(root).expanduser().is_dir()):
        raise UserError(f"data.root={root}: no such folder. Set it to the folder of the images.")
    # Augmentations are of training only, and may need a package that is missing here.
    data = run.data.model_copy(update={"augmentations": ()})
    run = run.model_copy(update={"data": data})
    return build_segmentation_data(run, num_workers=0, val_labeled=labeled)


def sample_images(
    run: TrainConfig, size: tuple[int, int], count: int, *, required: bool
) -> Samples:
    """Return images ``(H, W, C)``: the run's, else random ones.

    Args:
        run: the run's config.
        size: approximate height and width of random images.
        count: maximum number of images, spread over the validation split.
        required: the images must be the run's.

    Raises:
        UserError: ``required``, and they are not there.
    """
    try:
        val_set = open_images(run, labeled=False).val_set
        images = [val_set.read(item)[0] for item in sample_evenly(val_set.items, count)]
        return Samples(images, f"{len(images)} images of split {run.data.val_split}")
    except UserError as error:
        if required:
            raise
        images = _random_images(size, count, run.data.pixel_format.channels)
        reason = f"since the run's images are not available: {error}"
        return Samples(images, f"{count} random images", reason)


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
