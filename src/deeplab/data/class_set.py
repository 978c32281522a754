"""The classes of a data set: their names, their colors, and how mask files write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab.data.bad_files import BadFileError
from deeplab.utils.constants import IGNORE
from deeplab.utils.files import atomic_write

Pixels = NDArray[np.uint8]
Color = tuple[int, int, int]
Value = int | Color
"""What stands for a class in a mask: an index or gray value, or a color."""


MOST_CLASSES = 254
_UNKNOWN = 254  # in decoding tables only: neither a class nor ignored


def voc_palette() -> Pixels:
    """The VOC color map ``(256, 3)``: the bits of an index, dealt out to the high bits of red,
    green and blue in turn."""
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for color in range(3):
            palette[:, color] |= (((index >> color) & 1) << (7 - bit)).astype(np.uint8)
        index >>= 3
    return palette


def write_mask(path: Path, label: Pixels, palette: Pixels | None = None) -> None:
    """Write labels ``(H, W)`` as a palette PNG, in VOC's colors or those given, ``(256, 3)``."""
    mask = Image.fromarray(label, mode="P")
    mask.putpalette((voc_palette() if palette is None else palette).tobytes())
    with atomic_write(path) as draft:
        mask.save(draft, format="PNG")


@dataclass(frozen=True)
class ClassSet:
    """The classes of a data set.

    Args:
        names: one per class.
        colors: one per class, for pictures; None: VOC's color map.
        values: what masks hold for each class: all of them indices or all of them colors. None:
            class k is k.
        ignored: further values that become 255. (255 itself always does, unless it is a class.)
        unlisted_values: whether any other value is an error or ignored too.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...] | None = None
    values: tuple[Value, ...] | None = None
    ignored: tuple[Value, ...] = ()
    unlisted_values: Literal["error", "ignore"] = "error"

    def __len__(self) -> int:
        return len(self.names)

    @property
    def palette(self) -> Pixels:
        """Colors ``(256, 3)``; VOC's behind the last class."""
        palette = voc_palette()
        if self.colors:
            palette[: len(self.colors)] = self.colors
        return palette

    @property
    def colored(self) -> bool:
        """Whether masks are color pictures."""
        return bool(self.values) and isinstance(self.values[0], Sequence)  # type: ignore[index]

    def decode(self, mask: Pixels, path: Path) -> Pixels:
        """The labels ``(H, W)`` of a mask: indices ``(H, W)`` or colors ``(H, W, 3)``.

        Raises:
            BadFileError: a value that stands for nothing.
        """
        if self.colored:
            label = self._table[_color_codes(mask)]
        else:
            label = np.asarray(cv2.LUT(mask, self._table), np.uint8)
        if self.unlisted_values == "error" and (label == _UNKNOWN).any():
            raise self._unknown(mask, label == _UNKNOWN, path)
        return label

    def _unknown(self, mask: Pixels, where: NDArray[np.bool_], path: Path) -> BadFileError:
        found = mask[where]
        if self.colored:
            colors = np.unique(found.reshape(-1, 3), axis=0)
            named = ", ".join(str(tuple(int(c) for c in color)) for color in colors[:3])
            more = f" and {len(colors) - 3} more" if len(colors) > 3 else ""
            return BadFileError(
                "color not in the palette",
                path,
                f"color {named}{more}, which no class has ({int(where.sum())} pixels)",
                "Name it in classes.yaml, as a class or as ignored, or mend the mask; blended "
                "colors come from JPEG compression or from resizing with interpolation.",
            )
        allowed = (
            f"0 to {len(self) - 1}"
            if self.values is None
            else ", ".join(str(value) for value in self.values)
        )
        return BadFileError(
            "label out of range",
            path,
            f"label {int(found.max())}, but data.classes names {len(self)} classes "
            f"({allowed}; {IGNORE} = ignore)",
            "Name all classes, set data.ignored_values, or mend the mask.",
        )

    @cached_property
    def _table(self) -> Pixels:
        """The label of each value: 256 of them, or one for each color code (16 MB)."""
        table = np.full(1 << 24 if self.colored else 256, _UNKNOWN, np.uint8)
        if self.unlisted_values == "ignore":
            table[:] = IGNORE
        if not self.colored:
            table[IGNORE] = IGNORE
        for value in self.ignored:
            table[_code(value)] = IGNORE
        values = range(len(self)) if self.values is None else self.values
        for label, value in enumerate(values):
            table[_code(value)] = label
        return table


def _code(value: Value) -> int:
    if isinstance(value, int):
        return value
    red, green, blue = value
    return red << 16 | green << 8 | blue


def _color_codes(mask: Pixels) -> NDArray[np.int32]:
    wide = mask.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
