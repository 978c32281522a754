"""Data sets: the images of a split with their masks or labels."""

import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypedDict, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from deeplab.data.bad_files import BadFileError, OnError, read_with_fallback, stopping_error
from deeplab.data.class_set import ClassSet, Pixels
from deeplab.data.image_header import KINDS, QUIET_KINDS
from deeplab.data.image_io import (
    RGB,
    read_header,
    read_image,
    size_mismatch_error,
    unusual_kinds,
)
from deeplab.data.items import Item, item_ids
from deeplab.data.labeled_images import LabeledImage
from deeplab.data.labels import read_label
from deeplab.data.mixing import Mixing
from deeplab.data.packed_file import ImagePath
from deeplab.data.pixel_format import PixelFormat
from deeplab.data.rare_classes import ClassSampler
from deeplab.data.split_error import SplitError
from deeplab.data.transforms import Transform
from deeplab.utils.constants import IGNORE
from deeplab.utils.errors import UserError
from deeplab.utils.parallel import map_in_threads
from deeplab.utils.sampling import sample_evenly

T = TypeVar("T")
SampleT = TypeVar("SampleT")
ItemT = TypeVar("ItemT", bound=Item | LabeledImage)

Index = int | tuple[int, int]
"""Index of an image, or the number of a draw and an index."""

Reader = Callable[[int], tuple[Pixels, Pixels]]
"""Function from the index of an item to its image ``(H, W, C)`` and its label ``(H, W)``."""


class Sample(NamedTuple):
    """One image with its label map, after the transform."""

    image: Pixels  # (H, W, C)
    label: Pixels  # (H, W)
    image_id: str
    size: tuple[int, int]  # height and width on disk
    skipped: tuple[str, ...] = ()
    """Bad files that this sample replaces."""


class Batch(TypedDict):
    """Batch of images with their label maps or labels."""

    image: Tensor
    """uint8 ``(N, C, H, W)`` in channels_last order."""
    label: Tensor
    """uint8 ``(N, H, W)``; of a classifier the class indices ``(N, M)``, padded with -1."""
    image_id: list[str]
    skipped: list[tuple[str, ...]]
    """Bad files that each image replaces."""


class SegmentationBatch(Batch):
    """Batch of images with their label maps."""

    size: list[tuple[int, int]]
    """Height and width of each image, without padding."""


class ImageDataset(Dataset[SampleT], Generic[SampleT, ItemT]):
    """Base of the data sets of one split: draws, bad files, content hash.

    Args:
        split: name of the split, for messages.
        items: its images.
        seed: seed of the generators of the augmentation.
        on_error: reaction to a bad file.
    """

    no_label: int
    """Label that does not count."""

    def __init__(self, split: str, items: Sequence[ItemT], *, seed: int, on_error: OnError) -> None:
        self.split, self.items = split, items
        self.seed, self.on_error = seed, on_error

    @property
    def ids(self) -> list[str]:
        """Image ids, in order."""
        return list(item_ids(self.items))

    def __len__(self) -> int:
        return len(self.items)

    @abstractmethod
    def __getitems__(self, items: Sequence[Index]) -> Batch:
        """Return the batch of several indices, as the network takes it."""

    def draw(self, index: Index) -> tuple[int, np.random.Generator]:
        """Return the index of an image and the random generator of its draw.

        It depends only on the seed and on the number of the draw: neither on the worker nor on
        earlier draws.
        """
        draw, index = index if isinstance(index, tuple) else (0, index)
        return index, np.random.default_rng((self.seed, draw))

    def read_item(
        self, index: int, read: Callable[[int], T]
    ) -> tuple[ItemT, T | None, tuple[str, ...]]:
        """Return the item of an index or its replacement, what is read, and the skipped files.

        Raises:
            UserError: a file is bad and ``on_error`` is ``stop``, or no file is good.
        """
        used, sample, skipped = read_with_fallback(read, index, len(self), self.on_error)
        return self.items[used], sample, skipped

    def content_hash(self) -> str:
        """Return a hash of the split's ids, of its labels and of all bytes of its files.

        It does not depend on their order.
        """
        digests = sorted(self.map_items(self.item_hash, self.items))
        lines = "\n".join(digests).encode(errors="surrogateescape")  # of names of files
        return hashlib.sha256(lines).hexdigest()[:16]

    def map_items(self, function: Callable[[ItemT], T], items: Sequence[ItemT]) -> Iterator[T]:
        """Yield the results of a function for some of the items, in their order."""
        return map_in_threads(function, items)

    @abstractmethod
    def item_hash(self, item: ItemT) -> str:
        """Return the id of an item, its labels if they are in no file, and a hash of its files."""


class SegmentationDataset(ImageDataset[Sample, Item]):
    """The images of one split.

    Args:
        split: name of the split, for messages.
        items: its images and masks.
        classes: classes and their mask values.
        transform: applied to each sample with the random generator of its draw.
        seed: seed of these generators.
        on_error: reaction to a bad file; an empty sample is an image of ignored pixels.
        labeled: False if there are no masks, as in a test set; every pixel is then 255.
        pixel_format: see ``deeplab.data.image_io.read_image``.
    """

    no_label = IGNORE

    def __init__(
        self,
        split: str,
        items: Sequence[Item],
        *,
        classes: ClassSet,
        transform: Transform,
        seed: int = 0,
        on_error: OnError = "stop",
        labeled: bool = True,
        pixel_format: PixelFormat = RGB,
    ) -> None:
        super().__init__(split, items, seed=seed, on_error=on_error)
        self.classes, self.transform, self.labeled = classes, transform, labeled
        self.pixel_format = pixel_format
        self.reader: Reader = self.read_index
        self.class_sampler: ClassSampler | None = None
        """Draws the training images instead of the sampler."""
        self.mixing: Mixing | None = None

    def __getitem__(self, item: Index) -> Sample:
        """Return the sample of an index, or of ``(draw, index)``.

        Raises:
            UserError: a file is bad and ``on_error`` is ``stop``, or no file is good.
        """
        return self._sample(item)

    def __getitems__(self, items: Sequence[Index]) -> SegmentationBatch:
        """Return the batch of several indices, as the network takes it.

        If all results have the same size, they are computed directly into the batch: separate
        arrays would take 50 % more time.

        Raises:
            UserError: see ``__getitem__``; or the images differ in size.
        """
        if self.transform.shape is None:
            samples = [self._sample(item) for item in items]
            return make_batch(samples, *_stack(samples))
        images = np.empty((len(items), *self.transform.shape, self.pixel_format.channels), np.uint8)
        labels = np.empty((len(items), *self.transform.shape), np.uint8)
        outs = zip(items, images, labels, strict=True)
        samples = [self._sample(item, (image, label)) for item, image, label in outs]
        return make_batch(samples, images, labels)

    def _sample(self, item: Index, out: tuple[Pixels, Pixels] | None = None) -> Sample:
        index, generator = self.draw(item)
        focus = None
        if self.class_sampler:
            index, focus = self.class_sampler.draw(generator)
        sample = self._transformed(index, focus, generator, out)
        for choose in self.mixing.draw(generator) if self.mixing else ():
            if self.class_sampler:
                index, focus = self.class_sampler.draw(generator)
            else:
                index = int(generator.integers(len(self)))
            other = self._transformed(index, focus, generator)
            region = choose(other.label, focus, generator)
            sample.image[region], sample.label[region] = other.image[region], other.label[region]
            sample = sample._replace(skipped=sample.skipped + other.skipped)
        return sample

    def _transformed(
        self,
        index: int,
        focus: int | None,
        generator: np.random.Generator,
        out: tuple[Pixels, Pixels] | None = None,
    ) -> Sample:
        used, arrays, skipped = self.read_item(index, self.reader)
        blank = (
            np.zeros((1, 1, self.pixel_format.channels), np.uint8),
            np.full((1, 1), IGNORE, np.uint8),
        )
        image, label = blank if arrays is None else arrays
        size = (label.shape[0], label.shape[1])
        crop = self.transform(image, label, generator, out, focus)
        return Sample(*crop, used.id, size, skipped)

    def read(self, item: Item) -> tuple[Pixels, Pixels]:
        """Return the image ``(H, W, C)`` and the label ``(H, W)`` in their size on disk.

        Raises:
            BadFileError: a file is missing or damaged, sizes differ, or a value has no class.
        """
        image = read_image(item.image, self.pixel_format)
        if not self.labeled:
            return image, np.full(image.shape[:2], IGNORE, np.uint8)
        height, width = image.shape[:2]
        return image, read_label(item, self.classes, (height, width))

    def read_index(self, index: int) -> tuple[Pixels, Pixels]:
        """Return what ``read`` does for the item of an index."""
        return self.read(self.items[index])

    def sample_labels(self, max_items: int = 100) -> Iterator[Pixels]:
        """Yield the labels ``(H, W)`` of readable masks, spread over the split."""
        for item in sample_evenly(self.items, max_items):
            with suppress(BadFileError):  # reported when the item is read
                label = self.read_label(item)
                if label.size:
                    yield label

    def read_label(self, item: Item) -> Pixels:
        """Return the label ``(H, W)`` of an item; raises as ``read`` does."""
        return read_label(item, self.classes)

    def count_pixels(self, max_items: int | None = None) -> NDArray[np.int64]:
        """Return the number of pixels of each class in each readable label map, ``(N, K)``.

        Args:
            max_items: count in this many images at most, spread over the split; None: in all.

        Raises:
            BadFileError: a file is bad and ``on_error`` is ``stop``.
        """
        num_classes = len(self.classes.names)

        def count(item: Item) -> NDArray[np.int64]:
            try:
                label = self.read_label(item)
            except BadFileError:
                if self.on_error == "stop":
                    raise
                return np.zeros(num_classes, np.int64)
            return np.bincount(label.ravel(), minlength=IGNORE + 1)[:num_classes]

        items = self.items if max_items is None else sample_evenly(self.items, max_items)
        return np.stack(list(self.map_items(count, items)))

    def image_size(self, item: Item) -> tuple[int, int]:
        """Return the height and width of an image; raises as ``read`` does."""
        return read_header(item.image).size

    def check_item(self, item: Item) -> tuple[Pixels, Sequence[tuple[str, Path]]]:
        """Check an item without decoding its image; raises as ``read`` does.

        Returns:
            Its label, and what is unusual about its files.
        """
        # first, as the doctor does: a missing image is named before its mask
        size = self.image_size(item)
        label = self.read_label(item)
        if size != label.shape[:2]:
            raise size_mismatch_error(item.mask, label.shape, item.image)
        return label, unusual_kinds(item.image, item.mask_file, self.pixel_format.channels)

    def item_hash(self, item: Item) -> str:
        """See ``ImageDataset``."""
        if item.annotation is not None:  # its file may be that of many images
            label = hashlib.sha256()
            with suppress(BadFileError):  # reported, or skipped, when it is read
                label.update(self.read_label(item).tobytes())
            return f"{item.id} {hash_files(item.image)} {label.hexdigest()}"
        return f"{item.id} {hash_files(item.image, item.mask)}"


def make_batch(samples: Sequence[Sample], images: Pixels, labels: Pixels) -> SegmentationBatch:
    """Return the batch of these samples, with images ``(N, H, W, C)`` and labels ``(N, H, W)``."""
    return {
        "image": torch.from_numpy(images).permute(0, 3, 1, 2),
        "label": torch.from_numpy(labels),
        "image_id": [s.image_id for s in samples],
        "size": [s.size for s in samples],
        "skipped": [s.skipped for s in samples],
    }


def _stack(samples: Sequence[Sample]) -> tuple[Pixels, Pixels]:
    if len({s.label.shape for s in samples}) > 1:
        raise UserError(
            "data.eval_batch_size: images larger than data.eval_size differ in size and cannot "
            "share a batch. Set data.eval_batch_size=1 or a larger data.eval_size."
        )
    return np.stack([s.image for s in samples]), np.stack([s.label for s in samples])


def hash_files(*paths: ImagePath) -> str:
    """Return a hash of the bytes of some files."""
    digest = hashlib.sha256()
    for path in paths:
        # a file that cannot be read is reported when it is decoded
        with suppress(OSError):
            if not isinstance(path, Path) or os.path.isfile(path):  # noqa: PTH113  long names
                digest.update(path.read_bytes())
    return digest.hexdigest()


def check_split(dataset: SegmentationDataset, max_items: int = 100) -> list[str]:
    """Run the cheap part of the doctor's checks, so that wrong classes show before training.

    Ids must be unique; up to ``max_items`` masks and image headers, spread over the split,
    are checked. The other files are checked when they are read.

    Returns:
        Warnings about images that are not read as they are, one for each kind.

    Raises:
        UserError: as in ``SegmentationDataset.read``; no checked mask has a label; or every checked
            file is bad.
    """
    check_ids(dataset.split, dataset.ids)
    labeled = False
    bad: list[BadFileError] = []
    unusual: dict[str, list[Path]] = {}
    items = sample_evenly(dataset.items, max_items)
    for item in items:
        try:
            label, kinds = dataset.check_item(item)
            labeled = labeled or bool((label != IGNORE).any())
            for kind, path in kinds:
                unusual.setdefault(kind, []).append(path)
        except BadFileError as error:
            if dataset.on_error == "stop":
                raise stopping_error(error) from None
            bad.append(error)
    if bad and len(bad) == len(items):
        raise SplitError(
            dataset.split, f"none of the {len(items)} images checked can be used. {bad[0]}"
        )
    if not labeled:
        raise SplitError(
            dataset.split,
            f"its masks hold nothing but {IGNORE} (ignore). Check the masks, data.mask_values and "
            "data.ignored_values.",
        )
    return [
        f"{len(paths)} of {len(items)} images checked in {dataset.split}, such as {paths[0]}: "
        + "{}. {}".format(*KINDS[kind])
        for kind, paths in unusual.items()
        if kind not in QUIET_KINDS
    ]


def check_ids(split: str, ids: Sequence[str]) -> None:
    """Raise UserError if a split lists an id more than once."""
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        repeated = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise SplitError(
            split,
            f"{repeated} is listed more than once, so it would count more than once. Remove the "
            "repeated lines from the list.",
        )
