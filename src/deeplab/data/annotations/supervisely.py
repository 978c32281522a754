"""Supervisely: ``meta.json``, and for each data set the folders ``img`` and ``ann``.

meta.json              the classes
DATASET/img/a.jpg      DATASET/ann/a.jpg.json
"""

from collections.abc import Sequence
from pathlib import Path

from deeplab.data.annotations.base import (
    AnnotatedRegions,
    AnnotationSet,
    Record,
    damaged,
    json_files,
    read_json,
)
from deeplab.data.annotations.bitmaps import decode_png
from deeplab.data.annotations.regions import Bitmap, Outlines, Patch, Region, box
from deeplab.utils.constants import BACKGROUND
from deeplab.utils.text import name_some, pluralize

META = "meta.json"

Corner = tuple[float, float]


class Points(Record):
    """Lines of a polygon, or two corners of a rectangle."""

    exterior: tuple[Corner, ...] = ()
    interior: tuple[tuple[Corner, ...], ...] = ()


class Picture(Record):
    """Bitmap with the place of its upper left corner (x, y)."""

    data: str
    origin: tuple[int, int]


class Object(Record):
    """Annotated object."""

    classTitle: str  # noqa: N815  Supervisely's keys
    geometryType: str = "polygon"  # noqa: N815
    points: Points | None = None
    bitmap: Picture | None = None


class Size(Record):
    """Size of an image."""

    height: int
    width: int


class ImageFile(Record):
    """Content of the file of an image."""

    size: Size
    objects: list[Object]


class ClassRecord(Record):
    """Class of the project."""

    title: str


class Meta(Record):
    """Content of ``meta.json``."""

    classes: list[ClassRecord]


AREAS = ("polygon", "rectangle", "bitmap")
"""Kinds of objects with an area."""


class Supervisely(AnnotationSet):
    """Annotations of Supervisely."""

    form = "supervisely"
    tool = "Supervisely"

    def __init__(self, root: Path, paths: Sequence[str], files: Sequence[str]) -> None:
        super().__init__(root, paths, files)
        names: dict[str, None] = {}
        for path in files:
            content = read_json(root / path, Meta)
            names |= dict.fromkeys(entry.title for entry in content.classes)
        self.names = [name for name in names if name != BACKGROUND]
        existing, missing = set(paths), []
        for path in paths:
            image = _image_path(path)
            if image in existing:
                self.images[image] = path
            elif image is not None:
                missing.append(path)
        if missing:
            self.notes.append(
                f"{pluralize(len(missing), 'file')} of annotations without an image: "
                f"{name_some(missing)}"
            )

    @classmethod
    def find(cls, root: Path, paths: Sequence[str]) -> list[str]:
        metas = [path for path in paths if path.rpartition("/")[2] == META]
        existing = set(paths)
        if not any(_image_path(path) in existing for path in paths):
            return []
        return json_files(root, metas, "{", "classes")

    def regions(self, image: str) -> AnnotatedRegions:
        path = self.root / self.images[image]
        content = read_json(path, ImageFile)
        with damaged(path):
            regions = [
                Region(entry.classTitle, _draw(entry))
                for entry in content.objects
                if entry.geometryType in AREAS
            ]
        return AnnotatedRegions(regions, (content.size.height, content.size.width))


def _image_path(annotation: str) -> str | None:
    """Return the path of the image of a file in a folder ``ann``."""
    folders, _, name = annotation.rpartition("/")
    if not name.endswith(".json") or folders.rpartition("/")[2] != "ann":
        return None
    return f"{folders.removesuffix('ann')}img/{name.removesuffix('.json')}"


def _draw(entry: Object) -> Outlines | Bitmap:
    if entry.geometryType == "bitmap":
        if entry.bitmap is None:
            raise ValueError("a bitmap has no data")
        left, top = entry.bitmap.origin
        return Bitmap(Patch(decode_png(entry.bitmap.data, compressed=True), top, left))
    if entry.points is None or not entry.points.exterior:
        raise ValueError(f"a {entry.geometryType} has no points")
    if entry.geometryType == "rectangle":
        across, down = zip(*entry.points.exterior, strict=True)
        return box(min(across), min(down), max(across), max(down))
    return Outlines([entry.points.exterior, *entry.points.interior])
