"""The images of one split of a data set of the user's own."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from deeplab.data.class_set import Pixels
from deeplab.data.dataset import SegmentationDataset
from deeplab.data.items import Item
from deeplab.data.own_samples import OwnSource
from deeplab.data.pixel_values import network_pixels
from deeplab.utils.constants import IGNORE

T = TypeVar("T")


class OwnDataset(SegmentationDataset):
    """``SegmentationDataset`` whose items are samples of a dataset instead of files.

    Args:
        split: name of the split, for messages.
        items: its samples.
        source: reads them.
        options: see ``SegmentationDataset``.
    """

    def __init__(
        self, split: str, items: Sequence[Item], *, source: OwnSource, **options: Any
    ) -> None:
        super().__init__(split, items, **options)
        self.source = source

    def read(self, item: Item) -> tuple[Pixels, Pixels]:
        """See ``SegmentationDataset``."""
        image, label = self.source.read(item)
        pixels = network_pixels(image, self.pixel_format, item.image)
        return pixels, self._decode(item, image, label)

    def image_size(self, item: Item) -> tuple[int, int]:
        """See ``SegmentationDataset``."""
        image, _ = self.source.read(item)
        return image.shape[0], image.shape[1]

    def check_item(self, item: Item) -> tuple[Pixels, Sequence[tuple[str, Path]]]:
        """See ``SegmentationDataset``."""
        return self.read(item)[1], ()

    def read_label(self, item: Item) -> Pixels:
        """See ``SegmentationDataset``."""
        return self._decode(item, *self.source.read(item))

    def _decode(self, item: Item, image: Pixels, label: Pixels | None) -> Pixels:
        if label is None or not self.labeled:
            return np.full(image.shape[:2], IGNORE, np.uint8)
        return self.classes.decode(label, item.image)

    def map_items(self, function: Callable[[Item], T], items: Sequence[Item]) -> Iterator[T]:
        """See ``ImageDataset``; one after another, since a dataset need not allow threads."""
        return map(function, items)

    def item_hash(self, item: Item) -> str:
        """See ``ImageDataset``."""
        return f"{item.id} {self.source.sample_hash(item)}"
