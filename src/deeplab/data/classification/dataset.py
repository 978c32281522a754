"""Data set of labeled images."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab.data.bad_files import OnError
from deeplab.data.class_set import Pixels
from deeplab.data.dataset import Batch, ImageDataset, Index, hash_files
from deeplab.data.image_io import RGB, read_image
from deeplab.data.labeled_images import LabeledImage, LabeledImages
from deeplab.data.pixel_format import PixelFormat
from deeplab.utils.constants import NO_LABEL
from deeplab.utils.visualization import ClassificationExample


class Crop(Protocol):
    """Function from an image to the input of the network."""

    size: int

    def __call__(self, image: Pixels, generator: np.random.Generator, out: Pixels) -> None:
        """Write the crop of an image ``(H, W, 3)`` to ``out``, ``(size, size, 3)``."""
        ...


class ClassificationDataset(ImageDataset[Batch, LabeledImage]):
    """The labeled images of one split.

    Args:
        split: name of the split.
        images: paths and labels.
        crop: applied to each image with the random generator of its draw.
        seed: seed of these generators.
        on_error: reaction to a bad file; an empty sample is black and has no label.
        pixel_format: see ``deeplab.data.image_io.read_image``.
    """

    no_label = NO_LABEL

    def __init__(
        self,
        split: str,
        images: LabeledImages,
        *,
        crop: Crop,
        seed: int = 0,
        on_error: OnError = "stop",
        pixel_format: PixelFormat = RGB,
    ) -> None:
        super().__init__(split, images, seed=seed, on_error=on_error)
        self.crop, self.pixel_format = crop, pixel_format

    def __getitem__(self, item: Index) -> Batch:
        """Return the batch of one index, or of one ``(draw, index)``."""
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[Index]) -> Batch:
        """Return the batch of several indices, or of several ``(draw, index)``.

        Raises:
            UserError: a file is bad and ``on_error`` is ``stop``, or no file is good.
        """
        images = np.zeros((len(items), self.crop.size, self.crop.size, 3), np.uint8)
        labels, ids, skipped = [], [], []
        for item, out in zip(items, images, strict=True):
            index, generator = self.draw(item)
            used, image, skipped_files = self.read_item(
                index, lambda i: read_image(self.items[i].path, self.pixel_format)
            )
            if image is not None:
                self.crop(image, generator, out)
            labels.append(used.labels if image is not None else ())
            ids.append(used.id)
            skipped.append(skipped_files)
        return {
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "label": torch.from_numpy(_pad_labels(labels)),
            "image_id": ids,
            "skipped": skipped,
        }

    def item_hash(self, item: LabeledImage) -> str:
        """See ``ImageDataset``."""
        return f"{item.id} {item.labels} {hash_files(item.path)}"


def classification_example(
    batch: Batch, index: int, predicted: int | Tensor, classes: Sequence[str]
) -> ClassificationExample:
    """Return an image of a batch with the names of its labels and of the predicted class."""
    known = [classes[k] for k in batch["label"][index].tolist() if k != NO_LABEL]
    image = batch["image"][index].permute(1, 2, 0).cpu().numpy()
    return ClassificationExample(image, known, classes[int(predicted)])


def _pad_labels(labels: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    padded = np.full((len(labels), max(1, *map(len, labels))), NO_LABEL, np.int64)
    for row, image_labels in zip(padded, labels, strict=True):
        row[: len(image_labels)] = image_labels
    return padded
