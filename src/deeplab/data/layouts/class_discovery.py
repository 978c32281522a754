"""Discovery of the classes of masks without a classes file.

All masks of training and validation are read, since a class may be in few of them. For each value
its pixels are counted, how many of them are flat (inside areas) and how many between their
neighbors' values (``mask_statistics``). Then three questions are decided:

1. Are there blended values, made by antialiasing, interpolation, JPEG or noise? The *levels* are
   the values that fill areas (at least a tenth of their pixels is flat: a third for objects of
   5 x 5 pixels, less than a hundredth for blends) or, as in antialiased lines, are ten times as
   frequent as a mean blend and far from other levels: cubic and Lanczos interpolation overshoot by
   up to an eighth. A value at a distance of up to 8 from a level with ten times as many flat
   pixels is noise of it: JPEG makes no larger areas. The masks are blended if three or more values
   are mostly between others (one or two may be drawn outlines), if two levels have noise, or if
   four times as many values as levels fill no areas; and if these are half of all values or a tenth
   of the pixels that are not flat, since some rare, thin classes of many may look like blends.
   The levels are then the classes. Other values are ignored, or count as the nearest level if a
   quarter of their pixels is close to one, as in JPEG.
2. If not, is a value *stray*? It is ignored if it is in at most 5 % of the masks (or in one), with
   at most 16 pixels in each, and 0.1 % of all pixels. 16 pixels are one cell of the stride of 4 at
   which the network predicts: such a class could not be learned. One larger object in one mask
   makes its value a class.
3. Is 255 a class? It is ignored if VOC's palette draws it cream; beside indices, if these are at
   least three and dense (the largest is at most twice their number) or at least eight; and beside
   one or two indices if at least half of it has two other values nearby, as borders have. It is a
   class beside one other value, and among gray levels, at distances of 16 or more or all equal, if
   it fills areas. In color masks cream is ignored if all other colors are VOC's, and a color of at
   most a tenth of the pixels if it has a part in nearly all borders: the others hardly ever touch.

Black is named background: as a color, and as 0 beside one other value.

What has two likely readings is an error that names the keys to choose with: 255 in areas beside two
indices or along borders of gray levels, a gray level that is only found between two others, or
levels so close that JPEG or interpolation may have made one of another.

Values that a file or key lists are compared with the masks in the same way, and values of whole
objects that are not among them are said.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from deeplab.data.class_set import (
    ClassSet,
    Color,
    Value,
    min_distance,
    nearest_radii,
    value_distance,
    voc_palette,
)
from deeplab.data.items import Item
from deeplab.data.layouts.classes_file import (
    UNLISTED,
    find_classes_file,
    folders_of,
    format_classes_yaml,
    other_classes_files,
    read_classes,
)
from deeplab.data.layouts.file_names import CLASSES_FILE
from deeplab.data.layouts.mask_statistics import (
    CREAM,
    MIN_FLAT,
    ValueStatistics,
    marked_by_palette,
    read_statistics,
    separating_shares,
)
from deeplab.data.settings import MAX_CLASSES, UnlistedValues
from deeplab.utils.constants import IGNORE
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_text
from deeplab.utils.parallel import is_first_process
from deeplab.utils.sampling import sample_evenly
from deeplab.utils.text import name_some, pluralize, printable

FREQUENT = 10
NOISE_DISTANCE, NOISE_FACTOR, RINGING = 8, 10, 1 / 8
MIN_BLENDED, MANY_WEAK, EDGE_SHARE, NEAR_SHARE = 3, 4, 0.1, 0.25
STRAY_PIXELS, STRAY_MASKS, STRAY_SHARE = 16, 0.05, 0.001
GRAY_DISTANCE, MANY_INDICES, BORDER_SHARE = 16, 8, 0.5
SEPARATES, MAX_SEPARATING = 0.95, 0.1
"""Share of the borders from which on a color separates all others, and its largest share of the
pixels."""

MAX_OTHERS, MIN_LEVELS = 0.25, 0.3
"""Largest share of pixels far from all levels, and smallest share of the levels, in blended masks;
in probability maps they were 0.8 and 0.2."""
MAX_BLENDS = 32
"""Number of values between others from which on unblended masks are no masks."""
INSTANCES = re.compile("segmentationobject|instance", re.IGNORECASE)
"""Names of folders whose masks number objects, as VOC's and Cityscapes' do."""
MIN_NUMBERED = 8
"""Smallest number of masks, and of values, in which ids of instances are recognized."""
MAX_CHECKED = 100
"""Number of masks that are compared with the values of named classes."""
MAX_LISTED = 8
"""Number of values that a message lists."""


class FoundClasses(NamedTuple):
    """Classes found in masks."""

    classes: ClassSet
    shares: list[float]
    """Share of each class in the pixels of all classes."""
    reading: str
    """One line that says which values are classes, which are ignored, and why."""


_unwritten: dict[int, FoundClasses] = {}
"""Classes that could not be written to their folder, by a hash of the masks' names and states."""


def read_or_find_classes(
    root: Path,
    items: Sequence[Item],
    *,
    classes_file: str | None,
    ignored: tuple[Value, ...] = (),
    mask_values: tuple[Value, ...] | None = None,
    unlisted_values: UnlistedValues = "error",
) -> ClassSet:
    """Return the classes of a folder, from its classes file or from the masks of some images.

    Classes that come from the masks are written to ``classes.yaml`` in the folder, where you can
    change their names. One line about them is printed.

    Args:
        root: the folder.
        items: the images and masks.
        classes_file: path of the classes file; None: the usual names are tried.
        ignored: values that belong to no class, in addition to those of the file.
        mask_values: the values of the classes; None: all of the file, or those that are found.
        unlisted_values: treatment of other values, if neither the file nor the masks say more.

    Raises:
        UserError: the file is wrong, or the values of the masks cannot be classes.
    """
    path = find_classes_file(root, classes_file, items)
    if path is not None:
        listed = read_classes(path)
        classes = select_classes(listed, ignored, mask_values, unlisted_values, str(path))
        report_listed(classes, items, str(path), "Correct the values in the file")
        if classes_file is None and (others := other_classes_files(path, listed)):
            _report(
                f"{name_some(others)} with other classes is not used, since {path.name} comes "
                f"first; data.classes_file={others[0]} takes it"
            )
        return classes
    paths = [item.mask for item in items if item.mask.is_file()]
    if not paths:
        raise UserError(f"data.root={root}: none of its {len(items)} images has a mask. Add them.")
    if mask_values is None and (folder := _folder_of_instances(root, paths)):
        raise UserError(
            f"{folder}: masks in a folder of this name number the objects of each image. Set "
            "data.mask_dir to the folder of masks of classes. If the values are classes, set "
            "data.mask_values=[0,1,...]."
        )
    stamps = [(status.st_mtime_ns, status.st_size) for status in map(Path.stat, paths)]
    key = hash((*paths, *stamps, ignored, mask_values, unlisted_values))
    found = _unwritten.get(key) or find_classes(paths, ignored, mask_values, unlisted_values)
    classes, shares, reading = found
    target = root / CLASSES_FILE
    masks = pluralize(len(paths), "mask")
    try:
        write_text(target, format_classes_yaml(classes, shares, masks, reading))
        _report(f"{reading}. Found in {masks}; name them in {target}")
    except OSError as error:
        _unwritten[key] = found
        _report(f"{reading}. They cannot be written to {target}: {error.strerror}")
    return classes


def _folder_of_instances(root: Path, masks: Sequence[Path]) -> Path | None:
    sample = sample_evenly(masks, MAX_CHECKED)
    folders = (folder for mask in sample for folder in folders_of(mask, root))
    return next((folder for folder in folders if INSTANCES.search(folder.name)), None)


def report_listed(classes: ClassSet, items: Sequence[Item], source: str, remedy: str) -> None:
    """Print the classes that a file or key lists, and values of whole objects that are none.

    Up to ``MAX_CHECKED`` masks are read for these values.

    Args:
        classes: the classes.
        items: the images and masks.
        source: the file or key that lists the classes.
        remedy: what to do if 255, which is ignored unless it is listed, is a class.

    Raises:
        UserError: indices are listed, but all masks hold colors; or 255 is a class by its place in
            the masks, but is not listed.
    """
    sample = sample_evenly(items, MAX_CHECKED)
    masks = [item.mask for item in sample if item.mask.is_file()]
    listed, missed, notes = classes.values or tuple(range(len(classes))), list[Value](), [""]
    colored = None
    with suppress(UserError):  # training and the doctor report masks that cannot be read
        if masks:
            found = _Discovery(masks, classes.ignored, listed, classes.unlisted_values)
            notes, missed = [*notes, *found.void_notes], found.missed
            if isinstance(listed[0], int) and found.statistics.first.keys() == {"color"}:
                colored = found.statistics.first["color"]
        if missed:
            notes.append(found.amount(missed, f"{_listed(missed)} are no class"))
    if colored:
        raise UserError(
            f"{source}: the values of the classes are {_listed(listed)}, but {colored} holds "
            f"colors. {remedy}: colors such as [128,64,128]."
        )
    if IGNORE in missed:
        held = [v for v in (*listed, *missed) if v in found.values]
        raise UserError(
            f"{source}: the values of the classes are {_listed(listed)}, but the masks hold "
            f"{_listed(held)}, so 255 would be ignored. {remedy}, or set "
            "data.ignored_values=[255] if it is no class."
        )
    _report(f"{len(classes)} classes of {source}: {_named(classes)}{'; '.join(notes)}")


def select_classes(
    classes: ClassSet,
    ignored: tuple[Value, ...],
    mask_values: tuple[Value, ...] | None,
    unlisted_values: UnlistedValues = "error",
    source: str = "the file",
) -> ClassSet:
    """Return the classes of a file with these values, or without those that are ignored.

    Raises:
        UserError: no class has one of the values.
    """
    assert classes.values is not None
    values = classes.values if mask_values is None else mask_values
    if unknown := [value for value in values if value not in classes.values]:
        raise UserError(
            f"data.mask_values={_key(values)}: no class of {source} has the value "
            f"{_listed(unknown)}. Leave it out, or add the class to the file."
        )
    kept = [classes.values.index(value) for value in values if value not in ignored]
    return ClassSet(
        names=tuple(classes.names[i] for i in kept),
        colors=tuple(classes.colors[i] for i in kept) if classes.colors else None,
        values=tuple(classes.values[i] for i in kept),
        ignored=tuple(dict.fromkeys((*classes.ignored, *ignored))),
        unlisted_values=unlisted_values
        if classes.unlisted_values == "error"
        else classes.unlisted_values,
    )


def find_classes(
    masks: Sequence[Path],
    ignored: tuple[Value, ...] = (),
    mask_values: tuple[Value, ...] | None = None,
    unlisted_values: UnlistedValues = "error",
) -> FoundClasses:
    """Return the classes that masks hold.

    Args:
        masks: the files.
        ignored: values that are no class.
        mask_values: the values that are classes; None: they are found.
        unlisted_values: treatment of other values, if the masks do not require one.

    Raises:
        UserError: the values of the masks cannot be classes, or have two likely readings.
    """
    return _Discovery(masks, ignored, mask_values, unlisted_values).result()


class _Discovery:
    """The decision about each value; the head of this module describes it."""

    def __init__(
        self,
        masks: Sequence[Path],
        ignored: tuple[Value, ...],
        mask_values: tuple[Value, ...] | None,
        unlisted_values: UnlistedValues,
    ) -> None:
        self.masks, self.folder = masks, masks[0].parent
        self.statistics = read_statistics(masks)
        self.chosen, self.unlisted = mask_values, unlisted_values
        self.strict = unlisted_values == "error"
        self.notes: list[str] = []
        self.void_notes: list[str] = []
        self.values = self._values_by_kind()
        self.pixels = max(1, self.statistics.others + sum(v.pixels for v in self.values.values()))
        settled = {*ignored, *(mask_values or ())}
        self.open = [v for v in self.values if v not in settled]
        self.blends = [v for v in self.open if self.values[v].is_between]
        self.ignored = list(ignored)
        self.missed: list[Value] = []
        """Values of objects that are not among the chosen ones."""
        self.levels = self._find_levels()
        self._decide_void()

    def result(self) -> FoundClasses:
        """Return the classes; raises UserError if they are too few, too many or not all listed."""
        levels = self.levels
        if self.chosen and isinstance(self.chosen[0], int) and "color" in self.statistics.first:
            raise UserError(
                f"data.mask_values={_key(self.chosen)}: {self.statistics.first['color']} holds "
                "colors. List colors such as [128,64,128]."
            )
        if self.missed:
            self._report_missed()
        if len(levels) > MAX_CLASSES:
            raise self._too_many()
        if len(levels) < 2:
            raise UserError(
                f"{self.folder}: the masks hold {pluralize(len(levels), 'class')} besides ignored "
                f"values (all values: {_listed(list(self.values))}); at least 2 are needed. Check "
                "the masks, data.ignored_values and data.mask_values."
            )
        names = self._names(levels)
        counts = self._class_pixels(levels)
        classes = ClassSet(
            names,
            _colors(levels, self.statistics.palette),
            values=tuple(levels),
            ignored=tuple(self.ignored),
            unlisted_values=self.unlisted,
        )
        if bad := self.statistics.bad:
            more = f" and {len(bad) - 1} more" * (len(bad) > 1)
            self.notes.append(f"{bad[0].path}{more} left out: {bad[0].problem}")
        reading = "; ".join(
            [f"{len(levels)} classes: {_listed(levels)}", *self.notes, *self.void_notes]
        )
        return FoundClasses(classes, [n / max(1, sum(counts)) for n in counts], reading)

    def _class_pixels(self, levels: Sequence[Value]) -> list[int]:
        """Return the number of pixels of each class, those near to its value if they count."""
        radii = nearest_radii(levels) if self.unlisted == "nearest" else dict.fromkeys(levels, 0)
        ignored = {*self.ignored}
        return [
            sum(
                v.pixels
                for value, v in self.values.items()
                if value_distance(value, level) <= radius and value not in ignored
            )
            for level, radius in radii.items()
        ]

    def _names(self, levels: Sequence[Value]) -> tuple[str, ...]:
        """Return names of the classes, with the background where black stands for it."""
        black = 0 if isinstance(levels[0], int) else (0, 0, 0)
        two = len(levels) == 2 and value_distance(*levels) >= GRAY_DISTANCE
        if levels[0] != black or not (two or isinstance(black, tuple)):
            return _numbered_names(len(levels))
        if isinstance(black, tuple):
            self.notes.append("black is taken for background")
        return ("background", *(["object"] if two else _numbered_names(len(levels))[1:]))

    def _values_by_kind(self) -> dict[Value, ValueStatistics]:
        """Return the statistics by color if any mask has colors, or the palettes differ."""
        statistics = self.statistics
        if self.chosen is not None:
            indices = isinstance(self.chosen[0], int)
            return statistics.by_index() if indices else statistics.by_color()
        if "color" in statistics.first:
            return statistics.by_color()
        if statistics.differs:
            first, second = (Path(path).name for path in statistics.differs)
            self.notes.append(f"told by color, since the palettes of {first} and {second} differ")
            return statistics.by_color()
        by_index = statistics.by_index()
        gray = all(r == g == b for r, g, b in statistics.palette or ())
        if not gray and "indices" not in statistics.first:
            blends = [v for v in statistics.by_color().values() if v.is_between]
            flat, pixels = sum(v.flat for v in blends), sum(v.pixels for v in blends)
            if len(blends) >= MIN_BLENDED and flat < MIN_FLAT * pixels:
                return statistics.by_color()  # a palette of blends, whose order means nothing
        return by_index

    def _is_stray(self, value: Value) -> bool:
        v, masks = self.values[value], self.statistics.masks
        return (
            v.largest <= STRAY_PIXELS
            and v.masks <= max(1, STRAY_MASKS * masks)
            and v.pixels <= STRAY_SHARE * self.pixels
            and not (value == IGNORE and len(self.values) == 2)
        )

    def _check_instances(self) -> None:
        """Raise UserError if the values number the objects of each mask."""
        lengths, masks = self.statistics.numbered, self.statistics.masks
        if (
            self.chosen is None
            and sum(lengths.values()) == masks >= MIN_NUMBERED
            and len(lengths) >= MIN_NUMBERED // 2
            and max(lengths) > MIN_NUMBERED
        ):
            raise UserError(
                f"{self.folder}: each mask holds the values from 0 without a gap, up to another "
                f"one ({min(lengths) - 1} to {max(lengths) - 1}), as if they numbered its objects. "
                "Convert the masks to one value for each class. If the values are classes, set "
                f"data.mask_values=[0,1,...,{max(lengths) - 1}]."
            )

    def _find_levels(self) -> list[Value]:
        """Return the values of classes, among them 255, and settle the other values."""
        if dominant := self._dominant():
            near = NOISE_DISTANCE if self.chosen else 0
            levels = list(self.chosen or dominant)
            self.missed = [v for v in dominant if all(value_distance(u, v) > near for u in levels)]
            kept = {*levels, *self.missed}
            self._settle_blends(levels, [v for v in self.open if v not in kept])
            return levels
        if self.chosen is None and len(self.blends) > max(MAX_BLENDS, len(self.values) / 2):
            raise self._too_many()
        self._check_instances()
        if stray := [v for v in self.open if self._is_stray(v)]:
            self.ignored += stray
            self.open = [v for v in self.open if v not in stray]
            self.notes.append(self.amount(stray, f"{_listed(stray)} (stray) are ignored"))
        if self.chosen is None:
            self._check_outlines()
            if self.statistics.jpegs:
                self._check_distances(self.open)
            return self.open
        radii = nearest_radii(self.chosen) if self.unlisted == "nearest" else {}
        self.missed = [v for v in self.open if not _is_near(v, radii)]
        return list(self.chosen)

    def _report_missed(self) -> None:
        """Note that there are classes beside the chosen ones, or raise UserError."""
        if not self.strict:
            self.notes.append(self.amount(self.missed, f"{_listed(self.missed)} are no class"))
            return
        raise UserError(
            f"data.mask_values={_key(self.chosen or ())}: the masks also hold "
            f"{_listed(self.missed)} ({100 * self._share(self.missed):.2g} % of the pixels). Add "
            "them to data.mask_values or to data.ignored_values, or set "
            "data.unlisted_values=background, ignore or nearest."
        )

    def _dominant(self) -> list[Value]:
        """Return the values of blended masks that fill areas and are no noise of others.

        Empty if the masks are not blended.
        """
        if not (levels := self._levels_of_noise()):
            return []
        radii = nearest_radii(levels)
        rest = sum(v.pixels for value, v in self.values.items() if not _is_near(value, radii))
        rest += self.statistics.others
        if rest > MAX_OTHERS * self.pixels or self._share(levels) < MIN_LEVELS:
            return []
        if self.chosen is None:
            self._check_distances(sorted(levels))
        return sorted(v for v in levels if v not in self.ignored)

    def _levels_of_noise(self) -> list[Value]:
        """Return the values of areas and lines, if the others look like blends or noise."""
        levels: list[Value] = []
        noise: dict[Value, Value] = {}  # the level of each value that is close to one
        weak: list[Value] = []
        for value in sorted(self.values, key=lambda v: -self.values[v].flat):
            v = self.values[value]
            level = next((u for u in levels if self._is_noise_of(value, u)), None)
            if level is not None:
                noise[value] = level
            elif v.flat >= MIN_FLAT * v.pixels:
                levels.append(value)
                if len(levels) > MAX_CLASSES + 1:
                    break
            else:
                weak.append(value)
        levels += self._lines(levels, weak)
        if not 2 <= len(levels) <= MAX_CLASSES + 1:
            return []
        weak = [v for v in weak if v not in levels]
        suspects, several = {*self.blends}, len(self.blends) >= MIN_BLENDED
        if min_distance(levels) >= GRAY_DISTANCE:
            if len({*noise.values()}) > 1:  # noise of several levels
                suspects, several = suspects | {*noise}, True
            if len(weak) >= MANY_WEAK * len(levels):
                suspects, several = suspects | {*weak}, True
        many = 2 * len(suspects) >= len(self.values)
        edges = sum(v.pixels - v.flat for v in self.values.values())
        at_edges = sum(self.values[v].pixels for v in suspects) >= EDGE_SHARE * edges
        return levels if several and (many or at_edges) else []

    def _lines(self, levels: list[Value], weak: list[Value]) -> list[Value]:
        """Return the values of thin lines among those that fill no areas.

        If there are no areas but those of one value, as around thin objects, the largest gray
        value is also one.
        """
        reach = RINGING * max((value_distance(u, v) for u in levels for v in levels), default=0)
        frequent = FREQUENT * self._mean_pixels(self.blends)
        lines = [
            v
            for v in weak
            if not self.values[v].is_between
            and self.values[v].pixels >= frequent
            and all(value_distance(v, u) > reach for u in levels)
        ]
        if len(levels) + len(lines) == 1:
            lines += [v for v in weak if v == list(self.values)[-1] and isinstance(v, int)]
        return lines

    def _mean_pixels(self, values: Sequence[Value]) -> float:
        return sum(self.values[v].pixels for v in values) / max(1, len(values))

    def _is_noise_of(self, value: Value, level: Value) -> bool:
        return (
            value_distance(value, level) <= NOISE_DISTANCE
            and self.values[level].flat >= NOISE_FACTOR * self.values[value].flat
        )

    def _check_distances(self, levels: Sequence[Value]) -> None:
        """Raise UserError if blends or JPEG may have made one of the levels of another."""
        if len(levels) > 2 and min_distance(levels) < GRAY_DISTANCE:
            example = "[0,85,170]" if isinstance(levels[0], int) else "[[0,0,0],[128,64,128]]"
            raise UserError(
                f"{self.folder}: {_listed(levels)} fill areas, and "
                f"{100 * self._share(self.blends):.2g} % of the pixels lie between other values at "
                "edges: JPEG files, which change values by several, or masks resized with "
                "interpolation, in which blends of two classes look like a third. Export them "
                "again as PNG with nearest-neighbor interpolation, or list the true values, such "
                f"as 'data.mask_values={example}'."
            )

    def _check_outlines(self) -> None:
        """Raise UserError if a gray level is only found between two others, at their border."""
        if not all(isinstance(v, int) for v in self.open) or self.statistics.palettes:
            return
        if self._share(self.blends) > MAX_OTHERS or min_distance(self.open) < GRAY_DISTANCE:
            return
        thin = [v for v in self.blends if self.values[v].flat < MIN_FLAT * self.values[v].pixels]
        if thin:
            raise UserError(
                f"data.mask_values=null: {_listed(thin)} ({100 * self._share(thin):.2g} % of the "
                f"pixels) {'is' if len(thin) == 1 else 'are'} only found between other values, at "
                "their borders: a drawn outline, or blended. To ignore it set "
                f"data.ignored_values={_key(thin)}, to make it a class "
                f"data.mask_values={_key(self.open)}."
            )

    def _settle_blends(self, levels: list[Value], rest: list[Value]) -> None:
        """Ignore the values that are no class, or count them as the nearest class."""
        near = [v for v in rest if min(value_distance(v, u) for u in levels) <= NOISE_DISTANCE]
        self.unlisted = "ignore"
        if self._share(near) > NEAR_SHARE * self._share(rest):
            self.unlisted = "nearest"
            radii = nearest_radii([*levels, *self.ignored])
            near = [v for v in rest if _is_near(v, {u: radii[u] for u in levels})]
            rest = [v for v in rest if v not in near]
            self.notes.append(self.amount(near, "values near them count as them"))
        if rest or self.statistics.others:
            others = self.statistics.others
            self.notes.append(self.amount(rest, "other values at edges are ignored", others))

    def _decide_void(self) -> None:
        """Take 255, or cream in color masks, from the classes if it marks ignored pixels."""
        levels = self.missed if self.chosen else self.levels
        found = [v for v in (*self.levels, *self.missed) if v in self.values]
        void: Value = IGNORE
        if not all(isinstance(v, int) for v in found):
            cream = next((v for v in levels if _same_color(v, CREAM)), CREAM)
            void = self._separating_color(levels) or cream
        others = [v for v in found if v != void]
        if void in levels and len(others) > 1 and (reason := self._void_reason(void, others)):
            levels.remove(void)
            self.ignored.append(void)
            self.void_notes = [self.amount([void], f"{_text(void)} are ignored, {reason}")]

    @cached_property
    def _border_shares(self) -> dict[Color, float]:
        return separating_shares(self.masks)

    def _separating_color(self, levels: Sequence[Value]) -> Value | None:
        """Return the rare color that is drawn around all areas; None if there is none.

        An explicit ``data.mask_values`` says whether it is a class.
        """
        if len(levels) < 3 or self.chosen or "color" not in self.statistics.first:
            return None
        shares = self._border_shares
        most = self.statistics.masks / 2
        return next(
            (
                v
                for v in levels
                if self._share([v]) <= MAX_SEPARATING
                and self.values[v].masks >= most
                and shares.get(v, 0) >= SEPARATES  # type: ignore[arg-type]
            ),
            None,
        )

    def _void_reason(self, void: Value, others: list[Value]) -> str | None:
        """Return why 255 or cream is ignored beside other values; None if it is a class."""
        if not isinstance(void, int):
            voc = [(r, g, b) for r, g, b in voc_palette().tolist()]
            all_voc = all(any(_same_color(v, color) for color in voc) for v in others)
            if _same_color(void, CREAM) and all_voc:
                return "as VOC colors borders"
            if void != self._separating_color([*others, void]):
                return None
            classes = _key(sorted([*others, void]))
            return f"since they lie between all others (data.mask_values={classes} keeps them)"
        if marked_by_palette(self.statistics.palette):
            return "as VOC's palette marks it"
        indices = [v for v in others if isinstance(v, int)]
        gray = min_distance([*others, void]) >= GRAY_DISTANCE or _evenly_spaced([*indices, void])
        along_borders = self.statistics.border >= BORDER_SHARE * self.values[void].pixels
        dense = 3 <= len(indices) >= max(indices, default=0) / 2
        if not gray and (dense or len(indices) >= MANY_INDICES):
            return "as usual beside indices"
        if gray != along_borders:
            return None if gray else "since it lies along borders"
        if self.chosen:
            return "since it is not listed"
        place = "lies along borders" if along_borders else "fills areas"
        raise UserError(
            f"data.ignored_values=[]: {void} {place} in the masks ({100 * self._share([void]):.2g} "
            f"% of the pixels), beside {_listed(others)}: a class, or pixels to ignore. To ignore "
            f"it set data.ignored_values=[{void}], to make it a class "
            f"data.mask_values={_key(sorted([*others, void]))}."
        )

    def amount(self, values: Sequence[Value], text: str, others: int = 0) -> str:
        """Return a note with the number and the share of the pixels of some values."""
        count = others + sum(self.values[v].pixels for v in values)
        text = text if count != 1 else text.replace(" are ", " is ")
        return f"{pluralize(count, 'pixel')} of {text} ({100 * count / self.pixels:.2g} %)"

    def _share(self, values: Sequence[Value]) -> float:
        return sum(self.values[v].pixels for v in values) / self.pixels

    def _too_many(self) -> UserError:
        values, masks = self.values.values(), self.statistics.masks
        example = "[[0,0,0],[255,0,0]]" if len(self.values) > 256 else "[0,255]"
        shared = sum(v.masks for v in values) / len(self.values)
        if masks > 4 and shared < 2:
            reason = (
                "most of them are in one mask only: ids or colors of instances, or images that are "
                "no masks. Convert them to masks with one value for each class."
            )
        else:
            reason = (
                "JPEG, resizing with interpolation, or images that are no masks. Export the masks "
                f"again as PNG, or list the true values, such as data.mask_values={example}, and "
                "set data.unlisted_values=nearest."
            )
        return UserError(
            f"{self.folder}: the masks have {len(values)} distinct values, which cannot all be "
            f"classes (at most {MAX_CLASSES}): {reason}"
        )


def _colors(levels: Sequence[Value], palette: tuple[Color, ...] | None) -> tuple[Color, ...] | None:
    """Return the colors in the masks: their values, or those of the palette if they differ."""
    if not isinstance(levels[0], int):
        return tuple(v for v in levels if not isinstance(v, int))
    if palette is None:
        return None
    colors = [palette[v] for v in levels if isinstance(v, int) and v < len(palette)]
    distinct = len(colors) == len(levels) and len(set(colors)) == len(colors)
    return tuple(colors) if distinct else None


def _same_color(first: Value, second: Color) -> bool:
    """Return True for colors that JPEG makes of each other."""
    return value_distance(first, second) <= NOISE_DISTANCE // 2


def _is_near(value: Value, radii: Mapping[Value, int]) -> bool:
    return any(value_distance(value, level) <= radius for level, radius in radii.items())


def _report(text: str) -> None:
    """Print a line about the classes, once, and in the first of several processes only."""
    if is_first_process() and text not in _reported:
        _reported.add(text)
        print(printable(text))


_reported: set[str] = set()


def _named(classes: ClassSet) -> str:
    """Return the names of classes with their values, and what happens to other values."""
    values = classes.values or range(len(classes))
    pairs = [f"{n} {_text(v)}" for n, v in zip(classes.names, values, strict=True)]
    ignored = f"; {_listed(classes.ignored)} ignored" if classes.ignored else ""
    return f"{_shortened(pairs)}{ignored}; other values are {UNLISTED[classes.unlisted_values]}"


def _evenly_spaced(levels: list[int]) -> bool:
    """Return True for gray levels at equal distances up to rounding, but not for indices."""
    gaps = {b - a for a, b in pairwise(levels)}
    return 2 < min(gaps) >= max(gaps) - 2


def _listed(values: Sequence[Value]) -> str:
    numbers = [v for v in values if isinstance(v, int)]
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return _shortened([_text(v) for v in values])


def _shortened(texts: list[str]) -> str:
    if len(texts) > MAX_LISTED:
        texts = [*texts[: MAX_LISTED - 1], f"{len(texts) - MAX_LISTED + 1} more"]
    return " and ".join([", ".join(texts[:-1])] * (len(texts) > 1) + texts[-1:])


def _text(value: Value) -> str:
    return str(value).replace(" ", "")


def _key(values: Sequence[Value]) -> str:
    """Return values as the command line takes them."""
    return str([v if isinstance(v, int) else list(v) for v in values]).replace(" ", "")


def _numbered_names(count: int) -> tuple[str, ...]:
    return tuple(f"class_{i}" for i in range(count))
