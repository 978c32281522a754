"""Classes of a data set: their names, their colors, and their values in mask files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab.data.bad_files import BadFileError
from deeplab.data.settings import MAX_CLASSES, ClassSettings, UnlistedValues
from deeplab.utils.constants import BACKGROUND, IGNORE
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.text import name_some

Pixels = NDArray[np.uint8]
Color = tuple[int, int, int]
Value = int | Color
"""Value of a class in a mask: an index or gray value, or a color."""

_UNKNOWN = MAX_CLASSES  # in decoding tables only: neither a class nor ignored


def voc_palette() -> Pixels:
    """Return the VOC color map ``(256, 3)``.

    The bits of an index are dealt out to the high bits of red, green and blue in turn.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for color in range(3):
            palette[:, color] |= (((index >> color) & 1) << (7 - bit)).astype(np.uint8)
        index >>= 3
    return palette


def write_mask(
    path: Path, label: Pixels, palette: Pixels | None = None, *, flush: bool = True
) -> None:
    """Write labels ``(H, W)`` as a palette PNG.

    Args:
        path: the file.
        label: class indices.
        palette: colors ``(256, 3)``; None: VOC's.
        flush: see ``atomic_write``.
    """
    with atomic_write(path, flush=flush) as draft:
        mask_image(label, palette).save(draft, format="PNG")


def mask_image(label: Pixels, palette: Pixels | None = None) -> Image.Image:
    """Return labels ``(H, W)`` as an image with a palette; see ``write_mask``."""
    mask = Image.fromarray(label, mode="P")
    mask.putpalette((voc_palette() if palette is None else palette).tobytes())
    return mask


def class_set(settings: ClassSettings) -> "ClassSet":
    """Return the classes that the settings of a data set name."""
    return ClassSet(
        names=settings.classes,
        colors=settings.palette,
        values=settings.mask_values,
        ignored=settings.ignored_values,
        unlisted_values=settings.unlisted_values,
    )


@dataclass(frozen=True)
class ClassSet:
    """The classes of a data set.

    Args:
        names: one for each class.
        colors: one for each class, for overlays and figures; None: VOC's color map.
        values: the value of each class in masks: all indices or all colors. None: class k has
            value k.
        ignored: further values that become 255. (255 itself always does, unless it is a class.)
        unlisted_values: all other values are an error, are ignored too, belong to the nearest
            class if they are within ``nearest_radii`` of its value, or to the background.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...] | None = None
    values: tuple[Value, ...] | None = None
    ignored: tuple[Value, ...] = ()
    unlisted_values: UnlistedValues = "error"

    def __post_init__(self) -> None:
        """Check that all values are of one kind, and that a background is there if it is needed.

        Raises:
            UserError: some are indices and some colors, or no class is the background.
        """
        if self.unlisted_values == BACKGROUND and BACKGROUND not in self.names:
            raise UserError(
                f"data.unlisted_values={BACKGROUND}: the classes are {name_some(self.names)}. Name "
                f"the first one {BACKGROUND}, or set data.unlisted_values=ignore."
            )
        kind = "color" if self.colored else "index"
        if wrong := [v for v in self.ignored if isinstance(v, int) == self.colored]:
            raise UserError(
                f"data.ignored_values: {wrong[0]} is no {kind}, but the classes are told by "
                f"{kind}. Write a {'color such as [0,0,0]' if self.colored else 'number'}."
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def palette(self) -> Pixels:
        """Colors ``(256, 3)``: those of the classes, then VOC's."""
        palette = voc_palette()
        if self.colors:
            palette[: len(self.colors)] = self.colors
        return palette

    @property
    def colored(self) -> bool:
        """True if masks hold colors instead of indices."""
        return bool(self.values) and isinstance(self.values[0], Sequence)  # type: ignore[index]

    def decode(self, mask: Pixels, path: Path) -> Pixels:
        """Return the labels ``(H, W)`` of a mask.

        Args:
            mask: indices ``(H, W)`` or colors ``(H, W, 3)``.
            path: its file, for error messages.

        Raises:
            BadFileError: a value belongs to no class and is not ignored.
        """
        if self.colored:
            label = self._table[color_codes(mask)]
        else:
            label = np.asarray(cv2.LUT(mask, self._table), np.uint8)
        if self.unlisted_values == "error" and (label == _UNKNOWN).any():
            raise self._unknown_value_error(mask, label == _UNKNOWN, path)
        return label

    def _unknown_value_error(
        self, mask: Pixels, unknown: NDArray[np.bool_], path: Path
    ) -> BadFileError:
        values = mask[unknown]
        if self.colored:
            colors = np.unique(values.reshape(-1, 3), axis=0)
            listed = name_some([str(tuple(color)) for color in colors.tolist()])
            return BadFileError(
                "color of no class",
                path,
                f"no class has color {listed} ({int(unknown.sum())} pixels)",
                "Add it to the file of the classes or to data.ignored_values, or correct the mask. "
                "Blended colors come from JPEG compression or from resizing with interpolation.",
            )
        allowed = (
            f"0 to {len(self) - 1}"
            if self.values is None
            else ", ".join(str(value) for value in self.values)
        )
        return BadFileError(
            "label out of range",
            path,
            f"label {int(values.max())}, but data.classes names {len(self)} classes "
            f"({allowed}; {IGNORE} = ignore)",
            f"Name all classes, set data.ignored_values or data.unlisted_values={BACKGROUND}, or "
            "correct the mask.",
        )

    @cached_property
    def _table(self) -> Pixels:
        """The label of each value: 256 entries, or one for each color code (16 MB)."""
        shape = (256,) * (3 if self.colored else 1)
        unlisted = _UNKNOWN if self.unlisted_values == "error" else IGNORE
        if self.unlisted_values == BACKGROUND:
            unlisted = self.names.index(BACKGROUND)
        table = np.full(shape, unlisted, np.uint8)
        values = list(range(len(self)) if self.values is None else self.values)
        if self.unlisted_values == "nearest":
            radii = nearest_radii([*values, *self.ignored])
            for label, value in enumerate(values):
                radius = radii[value]
                table[tuple(slice(max(0, c - radius), c + radius + 1) for c in _tuple(value))] = (
                    label
                )
        for value in self.ignored if self.colored else (IGNORE, *self.ignored):
            table[value] = IGNORE
        for label, value in enumerate(values):
            table[value] = label
        return table.ravel()


def _tuple(value: Value) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else value


def value_distance(first: Value, second: Value) -> int:
    """Return the distance of two indices or gray values, or of two colors in any channel."""
    return max(abs(a - b) for a, b in zip(_tuple(first), _tuple(second), strict=True))


def min_distance(values: Sequence[Value]) -> int:
    """Return the smallest distance of two of the values; 255 for one."""
    pairs = combinations(dict.fromkeys(values), 2)
    return min((value_distance(*pair) for pair in pairs), default=IGNORE)


def nearest_radii(values: Sequence[Value]) -> dict[Value, int]:
    """Return the distance from each of these values up to which other values belong to it.

    It is a quarter of the distance to the nearest of the other values, so that a blend of two is
    ignored if neither has three quarters of it.
    """
    return {
        v: min((value_distance(v, u) for u in values if u != v), default=0) // 4 for v in values
    }


def color_codes(mask: Pixels) -> NDArray[np.int32]:
    """Return colors ``(H, W, 3)`` as 24-bit numbers ``(H, W)``."""
    channels = mask.astype(np.int32)
    return channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
