"""Statistics of the values in masks, from which ``class_discovery`` finds the classes.

A pixel is *flat* if its 3 x 3 neighborhood has one value, and *between* if its value, or one of its
channels, lies strictly between the smallest and the largest of its neighborhood. Areas of a class
are flat inside, and the pixels at their rim see this class and one other value, so they are not
between. Pixels that interpolation, antialiasing or JPEG has blended are between and hardly ever
flat.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import gcd
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import Color, Pixels, Value, color_codes
from deeplab.data.image_io import MaskKind, decode_mask
from deeplab.utils.constants import IGNORE
from deeplab.utils.cores import cpu_count
from deeplab.utils.errors import UserError
from deeplab.utils.parallel import parallel_map

Array = NDArray[np.int64]
Mask = NDArray[np.bool_]
CREAM: Color = (224, 224, 192)
"""Color of entry 255 of VOC's palette, with which VOC draws the ignored borders of objects."""

BORDER_RADIUS = 6
"""Distance in pixels at which both sides of an ignored border are searched: VOC's borders are five
pixels wide, and the rim of an area is not flat."""

STRIP_PIXELS = 1 << 22
"""Pixels of a mask that are counted at a time, which bounds the memory for huge masks."""

SCALE_SAMPLES, MIN_CHANGES, MAX_SCALE = 16, 20, 8
"""Number of masks in which a common scale is looked for, number of changes that it must explain,
and largest scale."""

MIN_FLAT = 0.1
"""Share of flat pixels below which a value fills no areas; its lines are shown to borders then."""

MIN_PROGRESS = 200
"""Number of masks above which a progress bar is shown."""

MAX_VALUES_PER_MASK = 512
"""Most frequent colors of a mask that are counted; only noise has more."""

GRAY = 0x010101
"""Code of the color (1, 1, 1)."""

MAX_VALUES = 1 << 18
"""Distinct colors after which reading ends: no class can be found among so many."""


class MaskStatistics(NamedTuple):
    """Statistics of one mask; the arrays have one entry for each value."""

    path: str
    kind: MaskKind
    codes: Array  # values; colors as 24-bit numbers
    counts: Array  # (values, 3): pixels; flat pixels; pixels between
    others: int  # pixels of rarer values
    border: int  # pixels of 255 within BORDER_RADIUS of two other values; not in colors
    palette: Pixels | None  # (N, 3)
    is_jpeg: bool


@dataclass
class ValueStatistics:
    """Statistics of one value over all masks; the numbers are pixels."""

    path: str = ""
    """The first mask that holds it."""
    pixels: int = 0
    flat: int = 0
    between: int = 0
    masks: int = 0
    largest: int = 0
    """Largest number of its pixels in a mask."""

    def add(self, other: "ValueStatistics") -> None:
        """Add the statistics of other masks."""
        self.path = self.path or other.path
        self.pixels += other.pixels
        self.flat += other.flat
        self.between += other.between
        self.masks += other.masks
        self.largest = max(self.largest, other.largest)

    @property
    def is_between(self) -> bool:
        """True if most of its pixels that are not flat are between."""
        return self.between > 0.5 * (self.pixels - self.flat)


class Statistics:
    """Statistics of all masks."""

    def __init__(self) -> None:
        self.masks = 0
        self.others = 0
        """Pixels of values that were too rare to be counted."""
        self.border = 0
        """Pixels of 255 along the borders of other values."""
        self.jpegs = 0
        self.bad: list[BadFileError] = []
        """Errors of the masks that cannot be read."""
        self.first: dict[MaskKind, str] = {}
        """The first mask of each kind."""
        self.palettes: Counter[bytes] = Counter()
        self.numbered: Counter[int] = Counter()
        """Numbers of values of the masks whose values are 0, 1 ... without a gap."""
        self.values: dict[tuple[MaskKind, int, int], ValueStatistics] = defaultdict(ValueStatistics)
        """By kind, index (of a color its number) and color, as a number; gray for an index."""

    def add(self, mask: MaskStatistics) -> None:
        """Add the statistics of a mask."""
        self.masks += 1
        self.others += mask.others
        self.border += mask.border
        self.jpegs += mask.is_jpeg
        self.first.setdefault(mask.kind, mask.path)
        colors = mask.codes if mask.kind == "color" else mask.codes * GRAY
        if mask.palette is not None:
            self.palettes[mask.palette.tobytes()] += 1
            colors = color_codes(mask.palette[None, mask.codes])[0].astype(np.int64)
        codes = mask.codes.tolist()
        for code, color, counts in zip(codes, colors.tolist(), mask.counts.tolist(), strict=True):
            pixels, flat, between = counts
            one = ValueStatistics(mask.path, pixels, flat, between, 1, pixels)
            self.values[mask.kind, code, color].add(one)
        inner = [code for code in codes if code != IGNORE]
        if inner == list(range(len(inner))):
            self.numbered[len(inner)] += 1

    @property
    def differs(self) -> tuple[str, str] | None:
        """Two masks whose palettes have another color for the same index; None if none have."""
        known: dict[int, str] = {}
        for (kind, code, _), value in self.values.items():
            if kind == "palette" and known.setdefault(code, value.path) != value.path:
                return known[code], value.path
        return None

    @property
    def palette(self) -> tuple[Color, ...] | None:
        """The most frequent palette."""
        if not self.palettes:
            return None
        entries = np.frombuffer(self.palettes.most_common(1)[0][0], np.uint8).reshape(-1, 3)
        return tuple((r, g, b) for r, g, b in entries.tolist())

    def by_index(self) -> dict[Value, ValueStatistics]:
        """Return the statistics of each index or gray value."""
        total: dict[Value, ValueStatistics] = defaultdict(ValueStatistics)
        for (kind, code, _), value in sorted(self.values.items(), key=lambda item: item[0][1]):
            if kind != "color":
                total[code].add(value)
        return dict(total)

    def by_color(self) -> dict[Value, ValueStatistics]:
        """Return the statistics of each color.

        Raises:
            UserError: some masks have one channel, with values that are no colors of the others.
        """
        plain = {color for kind, _, color in self.values if kind == "indices"}
        if plain - {color for kind, _, color in self.values if kind != "indices"} - {0}:
            colored = self.first.get("color") or self.first.get("palette", "the list of classes")
            raise UserError(
                f"{self.first['indices']}: this mask holds indices or gray values, {colored} holds "
                "colors. Convert all masks to one kind."
            )
        total: dict[Value, ValueStatistics] = defaultdict(ValueStatistics)
        for (_, _, color), value in sorted(self.values.items(), key=lambda item: item[0][2]):
            total[color >> 16, color >> 8 & 255, color & 255].add(value)
        return dict(total)


def read_statistics(masks: Sequence[Path]) -> Statistics:
    """Return the statistics of all masks that can be read.

    Masks that cannot be read are left out; the doctor and training report them.

    Raises:
        BadFileError: no mask can be read; this is the error of the first.
    """
    num_workers = min(cpu_count(), 1 + len(masks) // 200)  # starting a worker takes a second
    statistics = Statistics()
    results = parallel_map(
        partial(mask_statistics, scale=common_scale(masks)),
        masks,
        num_workers=num_workers,
        desc="Finding classes",
        progress=len(masks) > MIN_PROGRESS,
    )
    for result in results:
        if isinstance(result, BadFileError):
            statistics.bad.append(result)
        else:
            statistics.add(result)
        if len(statistics.values) > MAX_VALUES:
            break
    if statistics.bad and not statistics.masks:
        raise statistics.bad[0]
    return statistics


def common_scale(masks: Sequence[Path]) -> int:
    """Return the factor by which nearest-neighbor interpolation has enlarged masks; 1 for none.

    Blends that have become blocks of pixels would look like areas. It is the largest whole number,
    up to ``MAX_SCALE``, that divides the sides of some masks, and the positions of all their rows
    and columns that differ from the one before.
    """
    scale, changes = 0, 0
    for path in masks[:: 1 + len(masks) // SCALE_SAMPLES]:
        with suppress(BadFileError):  # reported when all are read
            mask = np.atleast_3d(decode_mask(path).values)
            for axis in (0, 1):
                differs = np.diff(mask, axis=axis).any(axis=(1 - axis, 2))
                positions = (np.flatnonzero(differs) + 1).tolist()
                scale, changes = gcd(scale, mask.shape[axis], *positions), changes + len(positions)
        if scale == 1:
            return 1
    factors = [factor for factor in range(1, MAX_SCALE + 1) if scale % factor == 0]
    return factors[-1] if changes >= MIN_CHANGES else 1


def separating_shares(masks: Sequence[Path]) -> dict[Color, float]:
    """Return, for each color, its share of the borders in some color masks.

    A border is a pair of neighboring pixels of different colors, and has two colors. A color that
    is drawn around all areas has a part in nearly all borders, like a background in masks without
    it.
    """
    borders: Counter[int] = Counter()
    total = 0
    for path in masks[:: 1 + len(masks) // SCALE_SAMPLES]:
        with suppress(BadFileError):  # reported when all are read
            mask = decode_mask(path)
            if mask.kind != "color":
                continue
            codes = color_codes(mask.values)
            for first, second in ((codes[1:], codes[:-1]), (codes[:, 1:], codes[:, :-1])):
                differs = first != second
                total += int(differs.sum())
                for side in (first, second):
                    found, counts = np.unique(side[differs], return_counts=True)
                    borders.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    return {
        (code >> 16, code >> 8 & 255, code & 255): count / total for code, count in borders.items()
    }


def mask_statistics(path: Path, scale: int = 1) -> MaskStatistics | BadFileError:
    """Return the statistics of a mask, or the error that it cannot be read.

    Of a mask that was enlarged by ``scale`` one pixel of each block is counted.
    """
    try:
        mask, kind, mode, palette = decode_mask(path)
    except BadFileError as error:
        return error
    first_row, first_column = (min(scale // 2, side - 1) for side in mask.shape[:2])
    mask = np.ascontiguousarray(mask[first_row::scale, first_column::scale])
    rows = max(1, STRIP_PIXELS // max(1, mask.shape[1]))
    strips = [
        _count_strip(mask, start, start + rows, palette) for start in range(0, len(mask), rows)
    ]
    codes, inverse = np.unique(np.concatenate([s[0] for s in strips]), return_inverse=True)
    counts = np.zeros((len(codes), 3), np.int64)
    np.add.at(counts, inverse, np.concatenate([s[1] for s in strips]))
    kept = np.sort(np.argsort(-counts[:, 0] - counts[:, 1], kind="stable")[:MAX_VALUES_PER_MASK])
    others = int(counts[:, 0].sum() - counts[kept, 0].sum())
    border = sum(s[2] for s in strips)
    area = scale**2
    return MaskStatistics(
        str(path), kind, codes[kept], counts[kept] * area, others * area, border * area, palette,
        mode == "JPEG",
    )  # fmt: skip


def _count_strip(
    mask: Pixels, start: int, end: int, palette: Pixels | None
) -> tuple[Array, Array, int]:
    """Return the values of some rows of a mask, their counts, and the pixels of ``border``."""
    halo = BORDER_RADIUS + 1
    top = max(0, start - halo)
    inner = slice(start - top, end - top)
    strip = mask[top : end + halo]
    kernel = np.ones((3, 3), np.uint8)
    low, high = (np.asarray(f(strip, kernel), np.uint8) for f in (cv2.erode, cv2.dilate))
    rim = np.flatnonzero(~_all(low == high))
    between = _are_between(rim, strip, low, high, palette)
    first, last = np.searchsorted(rim, [i * mask.shape[1] for i in (inner.start, inner.stop)])
    pixels = color_codes(strip[inner]) if strip.ndim == 3 else strip[inner]
    at_rim = pixels.ravel()[rim[first:last] - inner.start * mask.shape[1]]
    is_blend = between[first:last]
    codes, totals = _unique(pixels)
    counts = np.stack([totals, totals, np.zeros_like(totals)], axis=1)
    for column, part, sign in ((1, at_rim, -1), (2, at_rim[is_blend], 1)):
        found, numbers = _unique(part)
        counts[np.searchsorted(codes, found), column] += sign * numbers
    if strip.ndim == 3 or IGNORE not in codes or len(codes) < 3 or marked_by_palette(palette):
        return codes, counts, 0
    thin = codes[counts[:, 1] < MIN_FLAT * counts[:, 0]]
    shown = strip != IGNORE
    shown.ravel()[rim] &= np.isin(strip.ravel()[rim], thin) & ~between
    return codes, counts, int(_near_two_values(strip, shown)[inner].sum())


def _are_between(
    rim: Array, strip: Pixels, low: Pixels, high: Pixels, palette: Pixels | None
) -> Mask:
    """Return which of the pixels that are not flat are between, in any channel of their colors.

    Args:
        rim: their numbers, row by row.
        strip: the values.
        low: the smallest of each neighborhood.
        high: the largest of each neighborhood.
        palette: colors of the values, which are compared instead of them.
    """
    if palette is None:
        own, low, high = (a.reshape(-1, *strip.shape[2:])[rim] for a in (strip, low, high))
    else:
        padded = cv2.copyMakeBorder(strip, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
        width = padded.shape[1]
        center = rim + 2 * (rim // strip.shape[1]) + width + 1
        own = low = high = palette[padded.ravel()[center]]
        for step in (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1):
            color = palette[padded.ravel()[center + step]]
            low, high = np.minimum(low, color), np.maximum(high, color)
    between: Mask = (low < own) & (own < high)
    return between if between.ndim == 1 else np.asarray(between.any(axis=1))


def marked_by_palette(palette: Sequence[Color] | Pixels | None) -> bool:
    """Return True if a palette has VOC's color of ignored pixels for 255."""
    return palette is not None and len(palette) > IGNORE and tuple(palette[IGNORE]) == CREAM


def _all(equal: Mask) -> Mask:
    """Return ``equal.all(axis=2)`` for three channels; that is ten times slower."""
    return equal if equal.ndim == 2 else equal[..., 0] & equal[..., 1] & equal[..., 2]


def _unique(values: NDArray[np.uint8] | NDArray[np.int32]) -> tuple[Array, Array]:
    """Return the distinct values and their numbers."""
    if values.dtype != np.uint8:
        codes, counts = np.unique(values, return_counts=True)
        return codes.astype(np.int64), counts
    if not values.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # exact up to 2 ** 24 pixels, and ten times as fast as np.bincount
    histogram = cv2.calcHist([values], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    codes = np.flatnonzero(histogram)
    return codes, histogram[codes]


def _near_two_values(strip: Pixels, shown: Mask) -> Mask:
    """Return the pixels of 255 that have shown pixels of two other values nearby."""
    kernel = np.ones((2 * BORDER_RADIUS + 1, 2 * BORDER_RADIUS + 1), np.uint8)
    low = cv2.erode(np.where(shown, strip, np.uint8(255)), kernel)
    high = cv2.dilate(np.where(shown, strip, np.uint8(0)), kernel)
    return np.asarray((strip == IGNORE) & (low < high))
