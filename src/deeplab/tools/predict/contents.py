"""Contents of predicted images, in words: classes and their shares of the pixels."""

from collections import Counter
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab.utils.constants import BACKGROUND
from deeplab.utils.text import pluralize, printable

Pixels = NDArray[np.uint8]

MAX_NAMED = 5
"""Number of classes that a line names, the largest ones."""


def class_shares(label: Pixels, names: Sequence[str]) -> dict[str, float]:
    """Return the share of each class in a label map ``(H, W)``, the largest first.

    Classes that do not occur are left out.
    """
    counts = cv2.calcHist([label], [0], None, [256], [0, 256]).ravel()
    shares = {
        name: float(count) / label.size for name, count in zip(names, counts, strict=False) if count
    }
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def describe_shares(shares: Mapping[str, float]) -> str:
    """Return the shares of the classes other than background, such as ``cat 12 %, dog 0.3 %``."""
    found = [(name, share) for name, share in shares.items() if name != BACKGROUND]
    if not found:
        return f"only {BACKGROUND}"
    words = [f"{printable(name)} {describe_percent(share)}" for name, share in found[:MAX_NAMED]]
    more = len(found) - MAX_NAMED
    return ", ".join([*words, *[f"{more} more"] * (more > 0)])


def describe_percent(share: float) -> str:
    """Return a share in percent, with as many digits as tell something."""
    percent = 100 * share
    if percent < 0.1:
        return "< 0.1 %"
    return f"{percent:.1f} %" if percent < 1 else f"{percent:.0f} %"


class ContentCounter:
    """Counter of the images in which each class occurs.

    Args:
        names: names of the classes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.num_images = self.num_empty = 0
        self.images: Counter[str] = Counter()

    def add(self, label: Pixels) -> dict[str, float]:
        """Count an image by its label map ``(H, W)`` and return its shares."""
        shares = class_shares(label, self.names)
        found = [name for name in shares if name != BACKGROUND]
        self.images.update(found)
        self.num_images += 1
        self.num_empty += not found
        return shares

    def describe(self, noun: str = "image") -> str:
        """Return in how many images each class occurs, the most frequent first."""
        total = pluralize(self.num_images, noun)
        words = [
            f"{printable(name)} in {count:,}" for name, count in self.images.most_common(MAX_NAMED)
        ]
        more = len(self.images) - MAX_NAMED
        if more > 0:
            words.append(f"{more} more class{'es' * (more > 1)}")
        if self.num_empty:
            words.append(f"only {BACKGROUND} in {self.num_empty:,}")
        return f"{total}: {', '.join(words)}"
