"""Confusion matrices of many images, kept without their zeros.

An image shows a few classes, so that of the 22,500 cells of a matrix of 150 classes some tens are
not zero: memory grows with what was seen, not with the square of the number of classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deeplab.metrics.iou import Fractions, intersection_over_union, mean_over_classes

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ImageConfusions:
    """Pixel counts of ``N`` images by truth (row) and prediction (column) of ``K`` classes."""

    num_classes: int
    sizes: Counts
    """Number of cells of each image that are not zero: ``(N,)``."""
    cells: Counts
    """These cells of all images one after another, as ``truth * K + prediction``, ascending."""
    counts: Counts
    """Their pixels."""

    @classmethod
    def stack(cls, matrices: Sequence[NDArray[Any]] | NDArray[Any], num_classes: int) -> Self:
        """Return the counts of matrices ``(K, K)``."""
        parts = [cell_counts(matrix) for matrix in matrices]
        return cls.join(parts, num_classes)

    @classmethod
    def join(cls, parts: Sequence[tuple[Counts, Counts]], num_classes: int) -> Self:
        """Return the counts of images whose ``cell_counts`` are given."""
        empty = np.zeros(0, np.int64)
        return cls(
            num_classes,
            np.array([len(cells) for cells, _ in parts], np.int64),
            np.concatenate([empty, *(cells for cells, _ in parts)]),
            np.concatenate([empty, *(counts for _, counts in parts)]),
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Counts:
        """Return the matrix ``(K, K)`` of an image."""
        matrix = np.zeros(self.num_classes**2, np.int64)
        cells, counts = self.part(index)
        matrix[cells] = counts
        return matrix.reshape(self.num_classes, self.num_classes)

    def __iter__(self) -> Iterator[Counts]:
        return (self[index] for index in range(len(self)))

    def part(self, index: int) -> tuple[Counts, Counts]:
        """Return the cells of an image that are not zero, and their pixels."""
        index = range(len(self))[index]
        part = slice(self._ends[index] - self.sizes[index], self._ends[index])
        return self.cells[part], self.counts[part]

    def take(self, indices: Iterable[int]) -> "ImageConfusions":
        """Return the counts of some images, in this order."""
        return self.join([self.part(index) for index in indices], self.num_classes)

    @cached_property
    def _ends(self) -> Counts:
        return self.sizes.cumsum()

    @cached_property
    def _images(self) -> Counts:
        """Image of each cell."""
        return np.repeat(np.arange(len(self)), self.sizes)

    @cached_property
    def total(self) -> Counts:
        """Counts of all images together: ``(K, K)``."""
        total = np.zeros(self.num_classes**2, np.int64)
        np.add.at(total, self.cells, self.counts)
        return total.reshape(self.num_classes, self.num_classes)

    @cached_property
    def truth(self) -> Counts:
        """Labeled pixels of each image and class: ``(N, K)``."""
        return self._by_class(self.cells // self.num_classes, self.counts)

    @cached_property
    def prediction(self) -> Counts:
        """Labeled pixels that are predicted as each class: ``(N, K)``."""
        return self._by_class(self.cells % self.num_classes, self.counts)

    @cached_property
    def correct(self) -> Counts:
        """Pixels of each image and class that are predicted as it: ``(N, K)``."""
        truth, prediction = self.cells // self.num_classes, self.cells % self.num_classes
        return self._by_class(truth, np.where(truth == prediction, self.counts, 0))

    @property
    def union(self) -> Counts:
        """Pixels that are of each class in the truth or the prediction: ``(N, K)``."""
        return self.truth + self.prediction - self.correct

    def _by_class(self, classes: Counts, counts: Counts) -> Counts:
        result = np.zeros((len(self), self.num_classes), np.int64)
        np.add.at(result, (self._images, classes), counts)
        return result

    def pixels(self, truth: int, prediction: int) -> Counts:
        """Return the pixels of a class in each image that are predicted as a class: ``(N,)``."""
        found = self.cells == truth * self.num_classes + prediction
        result = np.zeros(len(self), np.int64)
        result[self._images[found]] = self.counts[found]
        return result

    @cached_property
    def image_iou(self) -> Fractions:
        """Mean IoU of each image ``(N,)``.

        The mean is over the classes that occur in the image's truth or prediction; nan if none
        occurs, because all pixels are ignored.
        """
        return mean_over_classes(intersection_over_union(self.correct, self.union))


def cell_counts(matrix: NDArray[Any]) -> tuple[Counts, Counts]:
    """Return the cells of a matrix that are not zero, and their counts."""
    cells = np.flatnonzero(matrix)
    return cells, matrix.ravel()[cells].astype(np.int64)


def check_cells(sizes: NDArray[Any], cells: NDArray[Any], num_classes: int) -> None:
    """Raise ValueError unless stored cells are those of matrices, each of them once."""
    images = np.repeat(np.arange(len(sizes)), sizes)
    if len(images) != len(cells):
        raise ValueError(f"cells: there are {len(cells)}, but sizes tells {len(images)}")
    order = images * num_classes**2 + cells
    if cells.max(initial=0) >= num_classes**2 or (np.diff(order) <= 0).any():
        raise ValueError(f"cells: they are not those of matrices of {num_classes} classes")
