"""Label Studio: a JSON list of tasks, with polygons, boxes, ellipses and brushes."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import RootModel

from deeplab.data.annotations.base import (
    AnnotatedRegions,
    AnnotationSet,
    ImageFinder,
    Record,
    damaged,
    json_files,
    read_json,
)
from deeplab.data.annotations.bitmaps import decode_label_studio_runs
from deeplab.data.annotations.regions import (
    Bitmap,
    Ellipse,
    Outlines,
    Patch,
    Region,
    box,
    turned_box,
)
from deeplab.data.layouts.base import is_image
from deeplab.utils.text import pluralize

UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-")
"""Start of the names that Label Studio gives to uploaded files."""


class Value(Record):
    """Shape of a result, in percent of the image's sides."""

    points: tuple[tuple[float, float], ...] | None = None
    x: float = 0
    y: float = 0
    width: float = 0
    height: float | None = None
    radiusX: float | None = None  # noqa: N815  Label Studio's keys
    radiusY: float = 0  # noqa: N815
    rotation: float = 0
    rle: tuple[int, ...] | None = None
    labels: tuple[str, ...] = ()
    polygonlabels: tuple[str, ...] = ()
    rectanglelabels: tuple[str, ...] = ()
    ellipselabels: tuple[str, ...] = ()
    brushlabels: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the classes, usually one; none if it is no region."""
        if (self.rle, self.points, self.radiusX, self.height) == (None,) * 4:
            return []
        return [
            *self.labels, *self.polygonlabels, *self.rectanglelabels, *self.ellipselabels,
            *self.brushlabels,
        ]  # fmt: skip


class Result(Record):
    """One result of an annotation: a region, or something else such as a choice."""

    value: Value = Value()
    original_width: int | None = None
    original_height: int | None = None


class Work(Record):
    """Annotation of a task by one person."""

    result: tuple[Result, ...] = ()
    was_cancelled: bool = False


class Task(Record):
    """Image with its annotations."""

    data: dict[str, Any]
    annotations: tuple[Work, ...] = ()


class Tasks(RootModel[list[Task]]):
    """Content of a file."""


class LabelStudio(AnnotationSet):
    """Annotations of Label Studio; of several of one image the last counts."""

    form = "label_studio"
    tool = "Label Studio"

    def __init__(self, root: Path, paths: Sequence[str], files: Sequence[str]) -> None:
        super().__init__(root, paths, files)
        finder = ImageFinder(filter(is_image, paths))
        self._results: dict[str, list[Result]] = {}
        names: set[str] = set()
        missing, skipped, several = [], 0, 0
        for path in files:
            for task in read_json(root / path, Tasks).root:
                done = [work for work in task.annotations if not work.was_cancelled]
                if not done:
                    skipped += 1
                    continue
                several += len(done) > 1
                image = _find_image(task, finder, path)
                if image is None:
                    missing.append(_image_name(task) or "a task without an image")
                    continue
                results = [result for result in done[-1].result if result.value.names]
                self.images[image] = path
                self._results[image] = results
                names.update(result.value.names[0] for result in results)
        self.names = sorted(names)
        self.note_missing(missing)
        if skipped:
            self.notes.append(f"{pluralize(skipped, 'task')} without an annotation, not used")
        if several:
            count = pluralize(several, "image")
            self.notes.append(f"{count} with several annotations; the last is used")

    @classmethod
    def find(cls, root: Path, paths: Sequence[str]) -> list[str]:
        return json_files(root, paths, "[", "data", "annotations", "result")

    def regions(self, image: str) -> AnnotatedRegions:
        path, results = self.root / self.images[image], self._results[image]
        sizes = {
            (result.original_height, result.original_width)
            for result in results
            if result.original_height and result.original_width
        }
        if results and len(sizes) != 1:
            with damaged(path):
                raise ValueError(f"{image}: its regions tell no common size of the image")
        size: Any = next(iter(sizes), None)
        with damaged(path):
            regions = [Region(r.value.names[0], _draw(r.value, *size)) for r in results]
        return AnnotatedRegions(regions, size)


def _image_name(task: Task) -> str | None:
    """Return the path or address of a task's image."""
    for value in task.data.values():
        if isinstance(value, str):
            address = urlsplit(value)
            local = parse_qs(address.query).get("d")
            name = local[0] if local else unquote(address.path)
            if is_image(name):
                return name
    return None


def _find_image(task: Task, finder: ImageFinder, near: str) -> str | None:
    name = _image_name(task)
    if name is None:
        return None
    folder, slash, last = name.rpartition("/")
    original = f"{folder}{slash}{UPLOAD_PREFIX.sub('', last, count=1)}"
    return finder.find(name, near) or finder.find(original, near)


def _draw(value: Value, height: int, width: int) -> Outlines | Ellipse | Bitmap:
    across, down = width / 100, height / 100
    if value.rle is not None:
        return Bitmap(Patch(decode_label_studio_runs(value.rle, height, width)))
    if value.points is not None:
        return Outlines([[(x * across, y * down) for x, y in value.points]])
    place = value.x * across, value.y * down
    if value.radiusX is not None:
        return Ellipse(*place, value.radiusX * across, value.radiusY * down, value.rotation)
    # Label Studio turns a rectangle around its upper left corner
    rectangle = box(0, 0, value.width * across, (value.height or 0) * down)
    return turned_box(place, rectangle, value.rotation)
