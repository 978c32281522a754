"""Pictures and labels as a data set, and the LightningDataModule over them."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from deeplab.data.bad_files import OnError, first_good
from deeplab.data.class_set import Pixels
from deeplab.data.classification.image_folder import ImageFolder, Picture, Pictures
from deeplab.data.classification.transforms import CentralCrop, RandomCrop
from deeplab.data.datamodules import StreamData
from deeplab.data.image_io import read_image

NO_LABEL = -1

Batch = dict[str, Any]
"""``image`` (N, 3, S, S) uint8 in channels_last order, ``label`` (N, M) class indices, M of the
picture with the most of them and -1 where there are fewer, and the lists ``image_id`` and
``skipped`` (the files that each picture stands in for)."""


class Crop(Protocol):
    """A picture to what the network gets of it."""

    size: int

    def __call__(self, image: Pixels, generator: np.random.Generator, out: Pixels) -> None:
        """Put the crop of ``(H, W, 3)`` into ``out``, ``(size, size, 3)``."""
        ...


class ClassificationDataset(Dataset[Batch]):
    """The pictures of one split.

    Args:
        split: its name.
        pictures: where they are, and their labels.
        crop: applied to each with the generator of its draw.
        seed: of these generators.
        on_error: what becomes of a bad file; an empty place is black and has no label.
    """

    def __init__(
        self,
        split: str,
        pictures: Pictures,
        *,
        crop: Crop,
        seed: int = 0,
        on_error: OnError = "stop",
    ) -> None:
        self.split, self.pictures, self.crop = split, pictures, crop
        self.seed, self.on_error = seed, on_error

    @property
    def ids(self) -> Sequence[str]:
        """The pictures' paths below the root, in order."""
        return _Ids(self.pictures)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, item: int | tuple[int, int]) -> Batch:
        """The batch of one index, or of ``(draw, index)``."""
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> Batch:
        """The batch of several indices, or of several ``(draw, index)``.

        The augmentation depends on the seed and on the number of the draw alone.

        Raises:
            UserError: a bad file, if ``on_error`` says so or since no file is good.
        """
        images = np.zeros((len(items), self.crop.size, self.crop.size, 3), np.uint8)
        labels, ids, skipped = [], [], []
        for item, out in zip(items, images, strict=True):
            draw, index = item if isinstance(item, tuple) else (0, item)
            picture, image, passed = self._good(index)
            if image is not None:
                self.crop(image, np.random.default_rng((self.seed, draw)), out)
            labels.append(picture.labels if image is not None else ())
            ids.append(picture.id)
            skipped.append(passed)
        return {
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "label": torch.from_numpy(_padded(labels)),
            "image_id": ids,
            "skipped": skipped,
        }

    def _good(self, index: int) -> tuple[Picture, Pixels | None, tuple[str, ...]]:
        """The picture of an index, what is in it if it is good, and the files passed over."""
        chosen, image, skipped = first_good(
            lambda i: read_image(self.pictures[i].path), index, len(self), self.on_error
        )
        return self.pictures[chosen], image, skipped

    def content(self) -> str:
        """Changes with the split's ids, with their labels and with any byte of the files, not with
        their order."""
        with ThreadPoolExecutor() as pool:
            digests = sorted(pool.map(_content, self.pictures))
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]


class _Ids(Sequence[str]):
    """Made when they are looked at."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: Any) -> Any:
        found = self.pictures.paths[index]
        return found.decode() if isinstance(found, bytes) else [name.decode() for name in found]


def _padded(labels: Sequence[Sequence[int]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    padded = np.full((len(labels), max(1, *map(len, labels))), NO_LABEL, np.int64)
    for row, known in zip(padded, labels, strict=True):
        row[: len(known)] = known
    return padded


def _content(picture: Picture) -> str:
    digest = hashlib.sha256()
    if picture.path.is_file():  # a missing one is found when it is read
        digest.update(picture.path.read_bytes())
    return f"{picture.id} {picture.labels} {digest.hexdigest()}"


class ClassificationData(StreamData):
    """Serves uint8 crops and labels.

    Args:
        folder: where the pictures are.
        train_split, val_split: names of splits; several are joined by ``+``.
        train_crop, eval_crop: see ``deeplab.data.classification.transforms``.
        steps, batch_size, eval_batch_size, seed, workers: see ``StreamData``.
        on_error: what becomes of a bad file: ``stop``, or ``skip``, which takes the next good
            picture in its place in training, leaves it out of validation, and counts it in
            ``skipped``.
    """

    def __init__(
        self,
        folder: ImageFolder,
        *,
        train_split: str,
        val_split: str,
        train_crop: RandomCrop,
        eval_crop: CentralCrop,
        steps: int,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        num_workers: int,
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        super().__init__(
            steps=steps,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
        )
        self.folder, self.classes = folder, folder.classes
        self.train_split, self.val_split = train_split, val_split
        self.train_crop, self.eval_crop, self.on_error = train_crop, eval_crop, on_error

    @cached_property
    def train_set(self) -> ClassificationDataset:
        """The training pictures; looked up when they are needed, since evaluation needs none."""
        return ClassificationDataset(
            self.train_split,
            self.folder.pictures(self.train_split),
            crop=self.train_crop,
            seed=self.seed,
            on_error="stop" if self.on_error == "stop" else "next",
        )

    @cached_property
    def val_set(self) -> ClassificationDataset:
        """The validation pictures."""
        return ClassificationDataset(
            self.val_split,
            self.folder.pictures(self.val_split),
            crop=self.eval_crop,
            on_error="stop" if self.on_error == "stop" else "blank",
        )
