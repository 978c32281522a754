"""The images of a split as a data set."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from deeplab.data.bad_files import BadFileError, OnError, first_good
from deeplab.data.class_set import ClassSet, Pixels
from deeplab.data.image_io import image_size, read_image, read_mask, size_problem
from deeplab.data.layouts.base import Item, fingerprint
from deeplab.data.transforms import Transform
from deeplab.utils.constants import IGNORE
from deeplab.utils.errors import UserError

T = TypeVar("T")

Reader = Callable[[Item], tuple[Pixels, Pixels]]
"""An item to its image ``(H, W, 3)`` and its label ``(H, W)``."""


class Sample(NamedTuple):
    """One image with its label map, as they come out of the transform."""

    image: Pixels  # (H, W, 3), RGB
    label: Pixels  # (H, W)
    image_id: str
    size: tuple[int, int]  # height and width on disk
    skipped: tuple[str, ...] = ()
    """The bad files that this sample stands in for."""


Batch = dict[str, Any]
"""``image`` (N, 3, H, W) in channels_last order, ``label`` (N, H, W), and the lists ``image_id``,
``size`` and ``skipped`` (the files that each image stands in for)."""


class SegmentationDataset(Dataset[Sample]):
    """The images of one split.

    Args:
        split: its name, for messages.
        items: where its images and masks are.
        classes: what the masks say.
        transform: applied to each sample with the generator of its draw.
        seed: of these generators.
        on_error: what becomes of a bad file; an empty place is an image of ignored pixels.
        labeled: whether there are masks; without them (a test set) all is labeled 255.
    """

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
    ) -> None:
        self.split, self.items, self.classes = split, list(items), classes
        self.labeled = labeled
        self.transform, self.seed, self.on_error = transform, seed, on_error
        self.reader: Reader = self.read

    @property
    def ids(self) -> list[str]:
        """The image ids, in order."""
        return [item.id for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, item: int | tuple[int, int]) -> Sample:
        """The sample of an index, or of ``(draw, index)``.

        The augmentation depends on the seed and on the number of the draw alone: neither on the
        worker that makes it nor on what was drawn before.

        Raises:
            UserError: a bad file, if ``on_error`` says so or since no file is good.
        """
        return self._sample(item)

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> Batch:
        """The batch of several indices, as the network takes it.

        Where all results have one size they are computed into the batch: arrays of their own would
        cost half as much time again.

        Raises:
            UserError: as for one; or the images differ in size.
        """
        if self.transform.shape is None:
            samples = [self._sample(item) for item in items]
            return batch_of(samples, *_stack(samples))
        images = np.empty((len(items), *self.transform.shape, 3), np.uint8)
        labels = np.empty((len(items), *self.transform.shape), np.uint8)
        outs = zip(items, images, labels, strict=True)
        samples = [self._sample(item, (image, label)) for item, image, label in outs]
        return batch_of(samples, images, labels)

    def _sample(
        self, item: int | tuple[int, int], out: tuple[Pixels, Pixels] | None = None
    ) -> Sample:
        draw, index = item if isinstance(item, tuple) else (0, item)
        chosen, (image, label), skipped = self._good(index)
        generator = np.random.default_rng((self.seed, draw))
        size = (label.shape[0], label.shape[1])
        return Sample(*self.transform(image, label, generator, out), chosen.id, size, skipped)

    def _good(self, index: int) -> tuple[Item, tuple[Pixels, Pixels], tuple[str, ...]]:
        """The item of an index, or what ``on_error`` puts in its place, and the skipped files."""
        chosen, found, skipped = first_good(
            lambda i: self.reader(self.items[i]), index, len(self.items), self.on_error
        )
        blank = np.zeros((1, 1, 3), np.uint8), np.full((1, 1), IGNORE, np.uint8)
        return self.items[chosen], blank if found is None else found, skipped

    def read(self, item: Item) -> tuple[Pixels, Pixels]:
        """Image ``(H, W, 3)`` and label ``(H, W)`` as they are on disk.

        Raises:
            BadFileError: a file is missing or damaged, sizes differ, or a value is no class.
        """
        image = read_image(item.image)
        if not self.labeled:
            return image, np.full(image.shape[:2], IGNORE, np.uint8)
        mask = read_mask(item.mask, colored=self.classes.colored)
        if image.shape[:2] != mask.shape[:2]:
            raise size_problem(item.mask, mask.shape, image.shape)
        return image, self.classes.decode(mask, item.mask)

    def content(self) -> str:
        """Changes with the split's ids and with any byte of their images and masks, not with their
        order."""
        with ThreadPoolExecutor() as pool:
            digests = sorted(pool.map(_content, self.items))
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]

    def fingerprint(self) -> str:
        """``deeplab.data.layouts.base.fingerprint`` of its items."""
        return fingerprint(self.items)


def batch_of(samples: Sequence[Sample], images: Pixels, labels: Pixels) -> Batch:
    """A batch of images ``(N, H, W, 3)`` and labels ``(N, H, W)``, and what is said of each."""
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
            "share a batch. Set it to 1, or data.eval_size higher."
        )
    return np.stack([s.image for s in samples]), np.stack([s.label for s in samples])


def _content(item: Item) -> str:
    digest = hashlib.sha256()
    for path in (item.image, item.mask):
        if path.is_file():  # a missing one is found when it is read
            digest.update(path.read_bytes())
    return f"{item.id} {digest.hexdigest()}"


def check_split(dataset: SegmentationDataset, most: int = 100) -> None:
    """The cheap part of the doctor's checks: no id twice, and up to ``most`` masks and image
    headers spread over the split.

    A wrong class list then shows before training starts. Every other file is checked when it is
    read.

    Raises:
        UserError: as ``read`` does, or none of the masks has a label.
    """
    check_ids(dataset.split, dataset.ids)
    labeled = False
    for index in spread(range(len(dataset)), most):
        item = dataset.items[index]
        try:
            size = image_size(item.image)
            mask = read_mask(item.mask, colored=dataset.classes.colored)
            label = dataset.classes.decode(mask, item.mask)
            labeled = labeled or bool((label != IGNORE).any())
            if size != label.shape:
                raise size_problem(item.mask, label.shape, size)
        except BadFileError:
            if dataset.on_error == "stop":
                raise
    if not labeled:
        raise UserError(f"split {dataset.split!r}: its masks hold nothing but {IGNORE} (ignore).")


def check_ids(split: str, ids: Sequence[str]) -> None:
    """Raise UserError if an id stands twice in a split."""
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise UserError(
            f"split {split!r}: {twice} is listed more than once, so it would count more than once. "
            "Take the others out of the list."
        )


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most ``most`` items at even distances, the first one included."""
    step = max(1, -(-len(items) // most))
    return list(items[::step])
