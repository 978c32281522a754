"""The labeled images of a split in shards."""

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np

from deeplab.data.labeled_images import LabeledImage, LabeledImages
from deeplab.data.layouts.shards.shard_index import ShardIndex


class ShardedImages(LabeledImages):
    """The labeled images of a split.

    Args:
        index: where they are.
        classes: class index of each of its words.
    """

    def __init__(self, index: ShardIndex, classes: Sequence[int]) -> None:
        self._index, self._classes = index, np.array(classes, np.int32)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> LabeledImage:  # type: ignore[override]  # no slices
        index = range(len(self))[index]
        labels = self._classes[self._index.words_of(index)]
        return LabeledImage(
            self._index.image_id(index), self._index.file(index), tuple(labels.tolist())
        )

    def ids(self) -> Iterator[str]:
        """See ``LabeledImages``."""
        return map(self._index.image_id, range(len(self)))

    def fingerprint(self) -> str:
        """See ``LabeledImages``; in place of ids, the shards' names and sizes are hashed."""
        entries = [[e.name, e.size, e.num_images] for e in self._index.entries]
        classes = [self._index.words, self._classes.tolist()]
        digest = hashlib.sha256(json.dumps([entries, classes]).encode())
        for numbers in (self._index.sizes, self._index.labels, self._index.label_ends):
            digest.update(np.ascontiguousarray(numbers).data)
        return digest.hexdigest()[:16]
