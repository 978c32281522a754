"""Finding the classes of masks that nobody has named."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import MOST_CLASSES, ClassSet, Color, Pixels, Value
from deeplab.data.image_io import read_mask
from deeplab.data.layouts.base import Item
from deeplab.data.layouts.classes_file import classes_file, read_classes, write_classes
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_text
from deeplab.utils.parallel import cpu_count, parallel_map


class Content(NamedTuple):
    """What one mask holds."""

    path: str
    values: dict[Value, int]  # pixels of each
    palette: tuple[Color, ...] | None


def named_or_found(
    root: Path, items: Sequence[Item], *, named: str | None, ignored: tuple[Value, ...]
) -> ClassSet:
    """The classes of a folder: from its classes file, or found in all of its masks.

    What is found is written to ``classes.yaml`` in the folder, for a person to put names in.

    Args:
        root: the folder.
        items: its images and masks.
        named: a classes file; None: the usual names are tried.
        ignored: values that are no classes, besides those of the file.

    Raises:
        UserError: the file is wrong, or the masks cannot be those of classes.
    """
    path = classes_file(root, named)
    if path is not None:
        return _without(read_classes(path), ignored)
    paths = [item.mask for item in items if item.mask.is_file()]
    found, shares = find_classes(paths, ignored)
    target = root / "classes.yaml"
    try:
        write_text(target, write_classes(found, shares, f"{len(paths)} masks of {root}"))
        print(f"Classes: {len(found)} found in {len(paths)} masks; name them in {target}")
    except OSError as error:
        print(f"Classes: {len(found)} found; they cannot be written to {target}: {error.strerror}")
    return found


def find_classes(
    masks: Sequence[Path], ignored: tuple[Value, ...] = ()
) -> tuple[ClassSet, list[float]]:
    """The classes that masks hold, and each one's part of the pixels.

    255 is no class, unless nothing but 0 and 255 occurs: then it is an object on a background.
    """
    num_workers = min(cpu_count(), 1 + len(masks) // 200)  # to start one takes a second
    pixels: Counter[Value] = Counter()
    palettes: Counter[tuple[Color, ...]] = Counter()
    for content in parallel_map(_content, list(masks), num_workers=num_workers, desc="Looking for classes"):
        pixels.update(content.values)
        if content.palette:
            palettes[content.palette] += 1
        _refuse_too_many(pixels, content.path)
    binary = set(pixels) == {0, 255}
    off = set(ignored) if binary else {*ignored, 255}
    values = sorted(v for v in pixels if v not in off)
    if len(values) < 2:
        raise UserError(
            f"the masks hold {len(values)} class{'es' * (len(values) != 1)} besides ignored values "
            f"({', '.join(map(str, sorted(map(str, pixels))))}); it takes 2 or more."
        )
    total = sum(pixels[v] for v in values)
    names = ("background", "object") if binary else tuple(f"class_{i}" for i in range(len(values)))
    colors = _colors(values, palettes)
    return (
        ClassSet(
            names,
            colors,
            values=tuple(values),
            ignored=tuple(v for v in pixels if v in off),
        ),
        [pixels[v] / total for v in values],
    )


def _without(classes: ClassSet, ignored: tuple[Value, ...]) -> ClassSet:
    """The classes less those whose value is to be ignored."""
    assert classes.values is not None
    kept = [i for i, value in enumerate(classes.values) if value not in ignored]
    return ClassSet(
        names=tuple(classes.names[i] for i in kept),
        colors=tuple(classes.colors[i] for i in kept) if classes.colors else None,
        values=tuple(classes.values[i] for i in kept),
        ignored=tuple(dict.fromkeys((*classes.ignored, *ignored))),
    )


def _content(path: Path) -> Content:
    palette = None
    try:
        try:
            values = read_mask(path)
        except BadFileError as error:
            if error.kind != "color mask":
                raise
            return Content(str(path), _count_colors(read_mask(path, colored=True)), None)
        with Image.open(path) as mask:
            entries = mask.getpalette("RGB") if mask.mode == "P" else None
        if entries:
            palette = tuple((r, g, b) for r, g, b in np.reshape(entries, (-1, 3)).tolist())
    except BadFileError:
        return Content(str(path), {}, None)  # the doctor and the start of training name it
    counts = np.bincount(values.ravel(), minlength=256)
    return Content(str(path), {int(v): int(counts[v]) for v in np.flatnonzero(counts)}, palette)


def _count_colors(mask: Pixels) -> dict[Value, int]:
    colors, counts = np.unique(mask.reshape(-1, 3), axis=0, return_counts=True)
    return {
        (int(r), int(g), int(b)): int(n)
        for (r, g, b), n in zip(colors.tolist(), counts.tolist(), strict=True)
    }


def _refuse_too_many(pixels: Counter[Value], path: str) -> None:
    kinds = {isinstance(value, int) for value in pixels}
    if len(kinds) > 1:
        raise UserError(
            f"{path}: some masks hold indices or gray values and some colors. Convert them to one "
            "kind."
        )
    if len(pixels) > MOST_CLASSES + 1:
        raise UserError(
            f"{path}: more than {MOST_CLASSES} different values up to this mask, which cannot all "
            "be classes. Masks saved as JPEG or resized with interpolation have blended values: "
            "export them anew as PNG, or name the true ones in classes.yaml and set "
            "data.unlisted_values=ignore."
        )


def _colors(values: list[Value], palettes: Counter[tuple[Color, ...]]) -> tuple[Color, ...] | None:
    """The colors of the masks themselves: their values, or the palette that most of them have."""
    if not isinstance(values[0], int):
        return tuple(v for v in values if not isinstance(v, int))
    if not palettes:
        return None
    palette = palettes.most_common(1)[0][0]
    chosen = [palette[v] for v in values if isinstance(v, int) and v < len(palette)]
    distinct = len(chosen) == len(values) and len(set(chosen)) == len(chosen)
    return tuple(chosen) if distinct else None
