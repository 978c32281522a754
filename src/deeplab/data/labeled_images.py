"""Images with labels, for classifiers, in a few arrays.

With objects, ten million images would take some GB in every process that loads them.
"""

import hashlib
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.data.items import MAX_CHECKED_FILES, file_bytes
from deeplab.data.packed_file import ImagePath
from deeplab.utils.sampling import sample_evenly
from deeplab.utils.text_array import Texts


class LabeledImage(NamedTuple):
    """One image with its labels."""

    id: str
    """Path below the root."""
    path: ImagePath
    labels: tuple[int, ...]


class LabeledPaths(NamedTuple):
    """Paths with the labels of each."""

    paths: Texts
    labels: NDArray[np.int32]
    """The labels of all paths, one path after another."""
    ends: NDArray[np.int64]
    """Where those of each path end."""

    @classmethod
    def of(cls, labeled: Iterable[tuple[str, Sequence[int]]]) -> "LabeledPaths":
        """Return paths and their labels in this form."""
        labels, ends = array("i"), array("q")

        def paths() -> Iterator[str]:
            for path, of_path in labeled:
                labels.extend(of_path)
                ends.append(len(labels))
                yield path

        texts = Texts.of(paths())
        return cls(texts, np.array(labels, np.int32), np.array(ends, np.int64))

    @classmethod
    def join(cls, parts: Sequence["LabeledPaths"]) -> "LabeledPaths":
        """Return the paths of all parts, one part after another."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *(len(part.labels) for part in parts)])
        ends = [part.ends + start for part, start in zip(parts, starts[:-1], strict=True)]
        return cls(
            Texts.join([part.paths for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate(ends),
        )


class LabeledImages(Sequence[LabeledImage]):
    """The labeled images of a split."""

    def __iter__(self) -> Iterator[LabeledImage]:
        return (self[index] for index in range(len(self)))

    @abstractmethod
    def ids(self) -> Iterator[str]:
        """Yield the id of each image."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of the images' ids, order and labels, and of the sizes of the files."""


class LabeledFiles(LabeledImages):
    """Labeled images that are files.

    Args:
        root: the folder that paths are relative to.
        labeled: paths of the images, each with at least one label.
    """

    def __init__(self, root: Path, labeled: LabeledPaths) -> None:
        self.root = root
        self.paths, self.labels, self.ends = labeled

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> LabeledImage:  # type: ignore[override]  # no slices
        index = range(len(self))[index]
        name = self.paths[index]
        labels = self.labels[self.ends[index - 1] if index else 0 : self.ends[index]]
        return LabeledImage(name, Path(self.root, name), tuple(labels.tolist()))

    def ids(self) -> Iterator[str]:
        """See ``LabeledImages``."""
        return iter(self.paths)

    def fingerprint(self) -> str:
        """See ``LabeledImages``.

        Of more than ``MAX_CHECKED_FILES`` images, the files of as many are looked at.
        """
        digest = hashlib.sha256()
        for numbers in (self.paths.data, self.paths.ends, self.labels, self.ends):
            digest.update(np.ascontiguousarray(numbers).data)
        sample = sample_evenly(self.paths, MAX_CHECKED_FILES)
        sizes = (file_bytes(Path(self.root, path)) for path in sample)
        digest.update(np.fromiter(sizes, np.int64, len(sample)).tobytes())
        return digest.hexdigest()[:16]
