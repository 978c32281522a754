"""Cards of the page: the scores of one image and its views, which open large."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from deeplab.data.class_set import ClassSet
from deeplab.metrics.iou import class_iou
from deeplab.tools.gallery.evaluations import LoadedEvaluation
from deeplab.utils.text import MINUS

NO_VALUE = "\N{EN DASH}"


def percent(value: float, digits: int = 1) -> str:
    """Format a fraction as a percentage; nan as a dash."""
    return NO_VALUE if value != value else f"{100 * value:.{digits}f} %"


def percentage_points(value: float) -> str:
    """Format a difference of two fractions in percentage points, with its sign."""
    return NO_VALUE if value != value else f"{100 * value:+.1f}".replace("-", MINUS)


class ColoredClass(NamedTuple):
    """Name of a class and its color as CSS."""

    name: str
    color: str


def css_color(color: Sequence[int]) -> str:
    """Return an RGB color as CSS."""
    return f"rgb({','.join(str(int(channel)) for channel in color)})"


def colored_classes(classes: ClassSet) -> list[ColoredClass]:
    """Return the classes with their colors."""
    colors = map(css_color, classes.palette)
    return [ColoredClass(*pair) for pair in zip(classes.names, colors, strict=False)]


class ImageClass(NamedTuple):
    """A class in the truth or in a prediction of one image."""

    colored: ColoredClass
    ious: list[float]
    """IoU in each evaluation; nan where the class is in neither truth nor prediction."""
    in_truth: bool


class Card(NamedTuple):
    """One image with its scores."""

    image_index: int
    image_id: str
    ious: list[float]
    """Image IoU in each evaluation."""
    classes: list[ImageClass]
    size: tuple[int, int]
    """Width and height of the thumbnails."""
    note: str = ""
    difference: float | None = None
    """Image IoU of the first evaluation minus that of the second, where the card shows it."""


@dataclass(frozen=True)
class CardMaker:
    """Maker of the page's cards.

    Args:
        evaluations: one evaluation, or the two that are compared.
        classes: names and colors.
        thumbnail_sizes: width and height of the thumbnails, by image index.
    """

    evaluations: tuple[LoadedEvaluation, ...]
    classes: ClassSet
    thumbnail_sizes: dict[int, tuple[int, int]]

    @cached_property
    def colored(self) -> list[ColoredClass]:
        """The classes with their colors."""
        return colored_classes(self.classes)

    def cards(self, indices: Sequence[int], notes: Sequence[str] = ()) -> list[Card]:
        """Return the cards of several images, each with its note."""
        return [
            self.card(i, note)
            for i, note in zip(indices, notes or [""] * len(indices), strict=True)
        ]

    def card(self, index: int, note: str = "") -> Card:
        """Return the card of one image."""
        return Card(
            index,
            self.evaluations[0].ids[index],
            [float(e.confusions.image_iou[index]) for e in self.evaluations],
            self._image_classes(index),
            self.thumbnail_sizes[index],
            note,
        )

    def _image_classes(self, index: int) -> list[ImageClass]:
        matrices = [evaluation.confusions[index] for evaluation in self.evaluations]
        ious = np.stack([class_iou(matrix) for matrix in matrices])  # (evaluations, K)
        in_truth = matrices[0].sum(1) > 0
        return [
            ImageClass(self.colored[k], ious[:, k].tolist(), bool(in_truth[k]))
            for k in np.flatnonzero(~np.isnan(ious).all(0))
        ]
