"""Data set of labeled images, and its LightningDataModule."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from deeplab.data.bad_files import OnError, read_with_fallback
from deeplab.data.class_set import Pixels
from deeplab.data.classification.transforms import CentralCrop, RandomResizedCrop
from deeplab.data.datamodules import StreamData
from deeplab.data.image_io import read_image
from deeplab.data.layouts.imagenet import LabeledFolder, LabeledImage, LabeledImages
from deeplab.data.settings import ClassificationSettings
from deeplab.utils.parallel import map_in_threads
from deeplab.utils.visualization import ClassificationExample

NO_LABEL = -1
"""Padding of label lists, and label of empty samples."""

Batch = dict[str, Any]
"""Batch of images as a dictionary.

``image`` (N, 3, S, S) uint8 in channels_last order, ``label`` (N, M) class indices, and the lists
``image_id`` and ``skipped`` (the bad files that each image replaces). M is the largest number of
labels of an image; shorter lists are padded with -1.
"""


class Crop(Protocol):
    """Function from an image to the input of the network."""

    size: int

    def __call__(self, image: Pixels, generator: np.random.Generator, out: Pixels) -> None:
        """Write the crop of an image ``(H, W, 3)`` to ``out``, ``(size, size, 3)``."""
        ...


class ClassificationDataset(Dataset[Batch]):
    """The labeled images of one split.

    Args:
        split: name of the split.
        images: paths and labels.
        crop: applied to each image with the random generator of its draw.
        seed: seed of these generators.
        on_error: reaction to a bad file; an empty sample is black and has no label.
    """

    def __init__(
        self,
        split: str,
        images: LabeledImages,
        *,
        crop: Crop,
        seed: int = 0,
        on_error: OnError = "stop",
    ) -> None:
        self.split, self.images, self.crop = split, images, crop
        self.seed, self.on_error = seed, on_error

    @property
    def ids(self) -> Sequence[str]:
        """Paths of the images below the root, in order."""
        return _Ids(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: int | tuple[int, int]) -> Batch:
        """Return the batch of one index, or of one ``(draw, index)``."""
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> Batch:
        """Return the batch of several indices, or of several ``(draw, index)``.

        The augmentation depends only on the seed and on the number of the draw.

        Raises:
            UserError: a file is bad and ``on_error`` is ``stop``, or no file is good.
        """
        images = np.zeros((len(items), self.crop.size, self.crop.size, 3), np.uint8)
        labels, ids, skipped = [], [], []
        for item, out in zip(items, images, strict=True):
            draw, index = item if isinstance(item, tuple) else (0, item)
            used, image, skipped_files = self._read_sample(index)
            if image is not None:
                self.crop(image, np.random.default_rng((self.seed, draw)), out)
            labels.append(used.labels if image is not None else ())
            ids.append(used.id)
            skipped.append(skipped_files)
        return {
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "label": torch.from_numpy(_pad_labels(labels)),
            "image_id": ids,
            "skipped": skipped,
        }

    def _read_sample(self, index: int) -> tuple[LabeledImage, Pixels | None, tuple[str, ...]]:
        """Return the image of an index or its replacement, its pixels, and the skipped files."""
        used, image, skipped = read_with_fallback(
            lambda i: read_image(self.images[i].path), index, len(self), self.on_error
        )
        return self.images[used], image, skipped

    def content_hash(self) -> str:
        """Return a hash of the split's ids, of their labels and of all bytes of the files.

        It does not depend on their order.
        """
        digests = sorted(map_in_threads(_image_hash, self.images))
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]


def classification_example(
    batch: Batch, index: int, predicted: int, classes: Sequence[str]
) -> ClassificationExample:
    """Return an image of a batch with the names of its labels and of the predicted class."""
    known = [classes[k] for k in batch["label"][index].tolist() if k != NO_LABEL]
    image = batch["image"][index].permute(1, 2, 0).cpu().numpy()
    return ClassificationExample(image, known, classes[predicted])


class _Ids(Sequence[str]):
    """Image ids, decoded on access."""

    def __init__(self, images: LabeledImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Any:
        paths = self.images.paths[index]
        return paths.decode() if isinstance(paths, bytes) else [path.decode() for path in paths]


def _pad_labels(labels: Sequence[Sequence[int]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    padded = np.full((len(labels), max(1, *map(len, labels))), NO_LABEL, np.int64)
    for row, image_labels in zip(padded, labels, strict=True):
        row[: len(image_labels)] = image_labels
    return padded


def _image_hash(image: LabeledImage) -> str:
    digest = hashlib.sha256()
    if image.path.is_file():  # a missing file is reported when it is read
        digest.update(image.path.read_bytes())
    return f"{image.id} {image.labels} {digest.hexdigest()}"


class ClassificationData(StreamData):
    """LightningDataModule of uint8 crops and their labels.

    Args:
        settings: keys of ``data``.
        layout: lists the images and their labels.
        options: see ``StreamData``.
    """

    def __init__(
        self, settings: ClassificationSettings, layout: LabeledFolder, **options: Any
    ) -> None:
        super().__init__(settings, **options)
        self.layout, self.classes = layout, layout.classes
        self.train_crop = RandomResizedCrop(settings)
        self.eval_crop = CentralCrop(size=settings.crop_size, crop_pct=settings.crop_pct)

    @cached_property
    def train_set(self) -> ClassificationDataset:
        """The training images, listed on first use because evaluation needs none of them."""
        return ClassificationDataset(
            self.train_split,
            self.layout.images(self.train_split),
            crop=self.train_crop,
            seed=self.seed,
            on_error="stop" if self.on_error == "stop" else "next",
        )

    @cached_property
    def val_set(self) -> ClassificationDataset:
        """The validation images."""
        return ClassificationDataset(
            self.val_split,
            self.layout.images(self.val_split),
            crop=self.eval_crop,
            on_error="stop" if self.on_error == "stop" else "blank",
        )
