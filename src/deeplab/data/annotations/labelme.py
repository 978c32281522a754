"""LabelMe: a JSON file for each image, beside it or in another folder."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeplab.data.annotations.base import (
    MAX_OTHERS,
    AnnotatedRegions,
    AnnotationSet,
    ImageFinder,
    Record,
    damaged,
    has_words,
    json_files,
    read_json,
)
from deeplab.data.annotations.bitmaps import decode_png
from deeplab.data.annotations.regions import Bitmap, Ellipse, Outlines, Patch, Region, box
from deeplab.data.layouts.base import is_image
from deeplab.utils.text import name_some

FORM = ("{", "shapes", "imagePath")
"""First character and keys of a file."""

AREAS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}
"""Kinds of shapes with an area, and the number of points that they have at least."""


class Shape(Record):
    """Shape of a file."""

    label: str
    points: tuple[tuple[float, float], ...] = ()
    shape_type: str | None = "polygon"
    mask: str | None = None


class ImageFile(Record):
    """Content of a file; the image itself, which may be in it, is not read."""

    shapes: list[Shape]
    imagePath: str | None = None  # noqa: N815  LabelMe's keys
    imageHeight: int | None = None  # noqa: N815
    imageWidth: int | None = None  # noqa: N815


class LabelMe(AnnotationSet):
    """Annotations of LabelMe."""

    form = "labelme"
    tool = "LabelMe"

    def __init__(self, root: Path, paths: Sequence[str], files: Sequence[str]) -> None:
        super().__init__(root, paths, files)
        images = [*filter(is_image, paths)]
        by_stem = {path.rpartition(".")[0]: path for path in images}
        finder, missing, names, lines = ImageFinder(images), [], set[str](), 0
        others: list[str] = []
        for path in files:
            image = by_stem.get(path.removesuffix(".json"))
            if image is None and not has_words(root / path, *FORM):
                others.append(path)
                continue
            content = read_json(root / path, ImageFile)
            image = image or finder.find(content.imagePath or "", path)
            if image is None:
                missing.append(path)
                continue
            self.images[image] = path
            names |= {shape.label for shape in content.shapes if _is_area(shape)}
            lines += sum(not _is_area(shape) for shape in content.shapes)
        self.names = sorted(names)
        if missing:
            self.notes.append(
                f"{len(missing)} LabelMe files name no image of this folder: {name_some(missing)}"
            )
        if others:
            self.notes.append(
                f"{len(others)} JSON files are not LabelMe's and are not used: {name_some(others)}"
            )
        self.note_lines(lines)

    @classmethod
    def find(cls, root: Path, paths: Sequence[str]) -> list[str]:
        """See ``AnnotationSet``; the first files of a folder tell."""
        files = json_files(root, _some_of_each(paths), *FORM)
        folders = {path.rpartition("/")[0] for path in files}
        return [p for p in paths if p.endswith(".json") and p.rpartition("/")[0] in folders]

    def regions(self, image: str) -> AnnotatedRegions:
        path = self.root / self.images[image]
        content = read_json(path, ImageFile)
        size = None
        if content.imageHeight and content.imageWidth:
            size = content.imageHeight, content.imageWidth
        with damaged(path):
            shapes = [shape for shape in content.shapes if _is_area(shape)]
            return AnnotatedRegions([Region(s.label, _draw(s)) for s in shapes], size)


def _some_of_each(paths: Sequence[str]) -> list[str]:
    """Return the first JSON files of each folder."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if path.endswith(".json"):
            by_folder[path.rpartition("/")[0]].append(path)
    return [path for files in by_folder.values() for path in files[:MAX_OTHERS]]


def _is_area(shape: Shape) -> bool:
    return len(shape.points) >= AREAS.get(shape.shape_type or "polygon", 1 << 30)


def _draw(shape: Shape) -> Outlines | Ellipse | Bitmap:
    (x0, y0), (x1, y1) = shape.points[:2]
    match shape.shape_type:
        case "rectangle":  # two corners, or all four of other tools that write this form
            across, down = zip(*shape.points, strict=True)
            return box(min(across), min(down), max(across), max(down))
        case "circle":  # its center and a point of its line
            radius = float(np.hypot(x1 - x0, y1 - y0))
            return Ellipse(x0, y0, radius, radius)
        case "mask":
            if shape.mask is None:
                raise ValueError("a shape of type mask has no mask")
            return Bitmap(Patch(decode_png(shape.mask), round(min(y0, y1)), round(min(x0, x1))))
    return Outlines([shape.points])
