"""Discovery of the classes of masks without a classes file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import MAX_CLASSES, ClassSet, Color, Pixels, Value
from deeplab.data.image_io import read_mask
from deeplab.data.layouts.base import Item
from deeplab.data.layouts.classes_file import (
    find_classes_file,
    format_classes_yaml,
    read_classes,
)
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_text
from deeplab.utils.parallel import cpu_count, parallel_map


class MaskContent(NamedTuple):
    """Values and palette of one mask."""

    path: str
    pixels: dict[Value, int]  # number of pixels of each value
    palette: tuple[Color, ...] | None


def read_or_find_classes(
    root: Path, items: Sequence[Item], *, classes_file: str | None, ignored: tuple[Value, ...]
) -> ClassSet:
    """Return the classes of a folder, from its classes file or from all of its masks.

    Classes that come from the masks are written to ``classes.yaml`` in the folder, where you can
    change their names.

    Args:
        root: the folder.
        items: its images and masks.
        classes_file: path of the classes file; None: the usual names are tried.
        ignored: values that belong to no class, in addition to those of the file.

    Raises:
        UserError: the file is wrong, or the values of the masks cannot be classes.
    """
    path = find_classes_file(root, classes_file)
    if path is not None:
        return _without_ignored(read_classes(path), ignored)
    paths = [item.mask for item in items if item.mask.is_file()]
    classes, shares = find_classes(paths, ignored)
    target = root / "classes.yaml"
    try:
        write_text(target, format_classes_yaml(classes, shares, f"{len(paths)} masks of {root}"))
        print(f"Classes: {len(classes)} found in {len(paths)} masks; name them in {target}")
    except OSError as error:
        print(f"Classes: {len(classes)} found; cannot write them to {target}: {error.strerror}")
    return classes


def find_classes(
    masks: Sequence[Path], ignored: tuple[Value, ...] = ()
) -> tuple[ClassSet, list[float]]:
    """Return the classes that masks hold, and the share of the pixels of each.

    255 is ignored, unless 0 and 255 are the only values: then 255 is an object on a background.

    Raises:
        UserError: the values of the masks cannot be classes.
    """
    num_workers = min(cpu_count(), 1 + len(masks) // 200)  # starting a worker takes a second
    pixels: Counter[Value] = Counter()
    palettes: Counter[tuple[Color, ...]] = Counter()
    for content in parallel_map(
        _read_content, list(masks), num_workers=num_workers, desc="Finding classes"
    ):
        pixels.update(content.pixels)
        if content.palette:
            palettes[content.palette] += 1
        _check_values(pixels, content.path)
    binary = set(pixels) == {0, 255}
    ignored_values = set(ignored) if binary else {*ignored, 255}
    values = sorted(v for v in pixels if v not in ignored_values)
    if len(values) < 2:
        raise UserError(
            f"the masks hold {len(values)} class{'es' * (len(values) != 1)} besides ignored values "
            f"(all values: {', '.join(map(str, sorted(map(str, pixels))))}); at least 2 are needed."
        )
    total = sum(pixels[v] for v in values)
    names = ("background", "object") if binary else tuple(f"class_{i}" for i in range(len(values)))
    colors = _colors(values, palettes)
    return (
        ClassSet(
            names,
            colors,
            values=tuple(values),
            ignored=tuple(v for v in pixels if v in ignored_values),
        ),
        [pixels[v] / total for v in values],
    )


def _without_ignored(classes: ClassSet, ignored: tuple[Value, ...]) -> ClassSet:
    """Return the classes without those whose value is ignored."""
    assert classes.values is not None
    kept = [i for i, value in enumerate(classes.values) if value not in ignored]
    return ClassSet(
        names=tuple(classes.names[i] for i in kept),
        colors=tuple(classes.colors[i] for i in kept) if classes.colors else None,
        values=tuple(classes.values[i] for i in kept),
        ignored=tuple(dict.fromkeys((*classes.ignored, *ignored))),
    )


def _read_content(path: Path) -> MaskContent:
    palette = None
    try:
        try:
            values = read_mask(path)
        except BadFileError as error:
            if error.kind != "color mask":
                raise
            return MaskContent(str(path), _count_colors(read_mask(path, colored=True)), None)
        with Image.open(path) as mask:
            entries = mask.getpalette("RGB") if mask.mode == "P" else None
        if entries:
            palette = tuple((r, g, b) for r, g, b in np.reshape(entries, (-1, 3)).tolist())
    except BadFileError:
        return MaskContent(str(path), {}, None)  # the doctor and training report the file
    counts = np.bincount(values.ravel(), minlength=256)
    return MaskContent(str(path), {int(v): int(counts[v]) for v in np.flatnonzero(counts)}, palette)


def _count_colors(mask: Pixels) -> dict[Value, int]:
    colors, counts = np.unique(mask.reshape(-1, 3), axis=0, return_counts=True)
    return {
        (int(r), int(g), int(b)): int(n)
        for (r, g, b), n in zip(colors.tolist(), counts.tolist(), strict=True)
    }


def _check_values(pixels: Counter[Value], path: str) -> None:
    """Raise UserError if the values so far are of two kinds or too many for classes."""
    kinds = {isinstance(value, int) for value in pixels}
    if len(kinds) > 1:
        raise UserError(
            f"{path}: some masks hold indices or gray values, others colors. Convert all masks to "
            "one kind."
        )
    if len(pixels) > MAX_CLASSES + 1:
        raise UserError(
            f"{path}: the masks up to this one have more than {MAX_CLASSES} distinct values, which "
            "cannot all be classes. Masks saved as JPEG or resized with interpolation have blended "
            "values: export them again as PNG, or list the true values in classes.yaml and set "
            "data.unlisted_values=ignore."
        )


def _colors(values: list[Value], palettes: Counter[tuple[Color, ...]]) -> tuple[Color, ...] | None:
    """Return the colors in the masks: their values, or the most frequent palette."""
    if not isinstance(values[0], int):
        return tuple(v for v in values if not isinstance(v, int))
    if not palettes:
        return None
    palette = palettes.most_common(1)[0][0]
    colors = [palette[v] for v in values if isinstance(v, int) and v < len(palette)]
    distinct = len(colors) == len(values) and len(set(colors)) == len(colors)
    return tuple(colors) if distinct else None
