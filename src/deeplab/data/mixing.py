"""Parts of a second training crop that replace those of the first: copy-paste and CutMix."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplab.data.class_set import Pixels
from deeplab.utils.constants import IGNORE

Region = NDArray[np.bool_]
"""Pixels ``(H, W)`` of a crop."""

Choose = Callable[[Pixels, int | None, np.random.Generator], Region]
"""Function from the label map of the second crop, the class that it was drawn for, and a random
generator to the pixels that it gives to the first crop."""


@dataclass(frozen=True)
class Mixing:
    """Probabilities of the mixtures of a training crop."""

    copy_paste_prob: float
    cutmix_prob: float
    background: int | None
    """Class that is not pasted."""

    def draw(self, generator: np.random.Generator) -> Iterator[Choose]:
        """Yield the mixtures of one crop, each of which needs a second crop of its own."""
        if self.copy_paste_prob and generator.random() < self.copy_paste_prob:
            yield self._objects
        if self.cutmix_prob and generator.random() < self.cutmix_prob:
            yield _box

    def _objects(self, label: Pixels, focus: int | None, generator: np.random.Generator) -> Region:
        """Return all pixels of a random half of the classes, at least one; not the background.

        The class that the crop was drawn for is one of them.

        Copy-paste (Ghiasi et al. 2021) pastes objects. A label map has no objects, so their class
        is pasted as a whole, as in ClassMix (Olsson et al. 2021).
        """
        classes = [k for k in np.unique(label).tolist() if k not in (IGNORE, self.background)]
        chosen = [k for k in classes if generator.random() < 0.5]
        if focus in classes:
            chosen.append(focus)
        elif classes and not chosen:
            chosen = [generator.choice(classes)]
        table = np.zeros(IGNORE + 1, np.bool_)
        table[chosen] = True
        return table[label]


def _box(label: Pixels, focus: int | None, generator: np.random.Generator) -> Region:
    """Return a random rectangle, as CutMix (Yun et al. 2019): any area is equally likely."""
    side = np.sqrt(generator.random())
    region = np.zeros(label.shape, np.bool_)
    spans = []
    for length in label.shape:
        center, half = generator.integers(length), side * length / 2
        spans.append(slice(max(0, round(center - half)), round(center + half)))
    region[tuple(spans)] = True
    return region
