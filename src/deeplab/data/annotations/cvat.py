"""CVAT: ``annotations.xml`` of "CVAT for images", with polygons, boxes, ellipses and masks.

CVAT's masks ("Segmentation mask 1.1") are masks beside images and need nothing here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, fromstring

from deeplab.data.annotations.base import AnnotatedRegions, AnnotationSet, ImageFinder, damaged
from deeplab.data.annotations.bitmaps import decode_runs
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
from deeplab.utils.constants import BACKGROUND
from deeplab.utils.errors import UserError
from deeplab.utils.reading import check_regular

SHAPES = ("polygon", "box", "ellipse", "mask")
"""Elements with an area."""


class _Image(NamedTuple):
    element: Element
    height: int
    width: int


class Cvat(AnnotationSet):
    """Annotations of CVAT for images.

    Raises:
        UserError: they are of a video.
    """

    form = "cvat"
    tool = "CVAT"

    def __init__(self, root: Path, paths: Sequence[str], files: Sequence[str]) -> None:
        super().__init__(root, paths, files)
        finder = ImageFinder(filter(is_image, paths))
        self._images: dict[str, _Image] = {}
        names: dict[str, None] = {}
        missing, lines = [], 0
        for path in files:
            document = _parse(root / path)
            if document.find("track") is not None:
                raise UserError(
                    f"{root / path}: it annotates the frames of a video. Export the task as "
                    '"CVAT for images", with its images.'
                )
            labels = [label.findtext("name") for label in document.iterfind("meta//label")]
            names |= dict.fromkeys(name for name in labels if name)
            for element in document.iterfind("image"):
                name = element.get("name", "")
                image = finder.find("/".join(filter(None, [element.get("subset"), name])), path)
                if image is None:
                    missing.append(name)
                    continue
                with damaged(root / path):
                    height, width = (int(element.get(key, "")) for key in ("height", "width"))
                self.images[image] = path
                self._images[image] = _Image(element, height, width)
                lines += sum(child.tag in ("polyline", "points") for child in element)
                shapes = (child.get("label", "") for child in element if child.tag in SHAPES)
                names |= dict.fromkeys(shapes)
        self.names = [name for name in names if name != BACKGROUND]
        self.note_missing(missing)
        self.note_lines(lines)

    @classmethod
    def find(cls, root: Path, paths: Sequence[str]) -> list[str]:
        xml = [path for path in paths if path.lower().endswith(".xml")]
        return [path for path in xml if path.count("/") < 2 and _is_cvat(_head(root / path))]

    def regions(self, image: str) -> AnnotatedRegions:
        record, path = self._images[image], self.root / self.images[image]
        with damaged(path):
            shapes = [child for child in record.element if child.tag in SHAPES]
            shapes.sort(key=lambda shape: int(shape.get("z_order", "0")))
            regions = [Region(shape.get("label", ""), _draw(shape)) for shape in shapes]
        return AnnotatedRegions(regions, (record.height, record.width))


def _is_cvat(head: bytes) -> bool:
    """Return True for CVAT's first element; that of Pascal VOC's boxes is ``annotation``."""
    return b"<annotations>" in head


def _head(path: Path) -> bytes:
    try:
        check_regular(path)
        with path.open("rb") as file:
            return file.read(1000)
    except (OSError, ValueError):
        return b""


def _parse(path: Path) -> Element:
    with damaged(path):
        data = path.read_bytes()
        if b"<!ENTITY" in data or b"<!DOCTYPE" in data:  # CVAT writes none
            raise ValueError("it has a document type")
        return fromstring(data)


def _draw(shape: Element) -> Outlines | Ellipse | Bitmap:
    turn = float(shape.get("rotation", "0"))
    match shape.tag:
        case "polygon":
            points = [
                tuple(map(float, pair.split(","))) for pair in shape.get("points", "").split(";")
            ]
            if any(len(point) != 2 for point in points):
                raise ValueError("a polygon's points are no pairs of numbers")
            return Outlines([points])  # type: ignore[list-item]
        case "box":
            left, top, right, bottom = _attributes(shape, "xtl", "ytl", "xbr", "ybr")
            if not turn:
                return box(left, top, right, bottom)
            x, y = (left + right) / 2, (top + bottom) / 2
            return turned_box((x, y), box(left - x, top - y, right - x, bottom - y), turn)
        case "ellipse":
            x, y, radius_x, radius_y = _attributes(shape, "cx", "cy", "rx", "ry")
            return Ellipse(x, y, radius_x, radius_y, turn)
    left, top, width, height = map(int, _attributes(shape, "left", "top", "width", "height"))
    runs = [int(run) for run in shape.get("rle", "").split(",")]
    return Bitmap(Patch(decode_runs(runs, height, width), top, left))


def _attributes(shape: Element, *names: str) -> Iterator[float]:
    for name in names:
        if name not in shape.attrib:
            raise ValueError(f"a {shape.tag} has no {name}")
        yield float(shape.attrib[name])
