"""YOLO: a text file of polygons for each image, in a folder ``labels`` beside ``images``.

data.yaml            names: [cat, dog]           also {0: cat, 1: dog}
images/train/a.jpg   labels/train/a.txt          0 0.1 0.2 0.5 0.2 0.3 0.9
train/images/a.jpg   train/labels/a.txt          class x y x y x y, relative to the image
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deeplab.data.annotations.base import (
    FIX,
    AnnotatedRegions,
    AnnotationSet,
    damaged,
)
from deeplab.data.annotations.regions import Outlines, Region
from deeplab.data.image_io import read_header
from deeplab.data.layouts.base import is_image
from deeplab.utils.errors import UserError
from deeplab.utils.reading import check_regular, read_values
from deeplab.utils.text import name_some, pluralize

NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
"""Files of the names of the classes."""

IMAGES, LABELS = "images", "labels"


class Yolo(AnnotationSet):
    """Annotations in the form of YOLO's segmentation.

    Raises:
        UserError: the classes have no names, or the files hold boxes.
    """

    form = "yolo"
    tool = "YOLO"

    def __init__(self, root: Path, paths: Sequence[str], files: Sequence[str]) -> None:
        super().__init__(root, paths, files)
        self.names = _read_names(root, paths)
        labels, empty = set(files), []
        for path in paths:
            label = _label_path(path)
            if label is not None:
                self.images[path] = label
                empty += [path] * (label not in labels)
        _check_outlines(root, files)
        if empty:
            self.notes.append(
                f"{pluralize(len(empty), 'image')} without a file of labels, all background: "
                f"{name_some(empty)}"
            )

    @classmethod
    def find(cls, root: Path, paths: Sequence[str]) -> list[str]:
        """See ``AnnotationSet``; the first file tells."""
        existing = set(paths)
        labels = [label for path in paths if (label := _label_path(path)) in existing and label]
        return labels if labels and _is_labels(root / labels[0]) else []

    def regions(self, image: str) -> AnnotatedRegions:
        path = self.root / self.images[image]
        height, width = read_header(self.root / image).shown_size
        regions = []
        with damaged(path):
            for number, line in enumerate(_lines(path), 1):
                index, *values = line.split()
                points = list(map(float, values))
                if len(points) < 6 or len(points) % 2:
                    raise ValueError(f"line {number} is no class and at least three points")
                if not index.isdecimal() or int(index) >= len(self.names):
                    raise ValueError(
                        f"line {number}: class {index[:20]}, but {len(self.names)} have names"
                    )
                corners = [
                    (x * width, y * height) for x, y in zip(points[::2], points[1::2], strict=True)
                ]
                regions.append(Region(self.names[int(index)], Outlines([corners])))
        return AnnotatedRegions(regions, (height, width))


def _label_path(image: str) -> str | None:
    """Return the path of an image's labels; None for a file that is no image of YOLO's."""
    folders = image.rpartition(".")[0].split("/")
    if not is_image(image) or IMAGES not in folders[:-1]:
        return None
    last = len(folders) - 2 - folders[:-1][::-1].index(IMAGES)
    return "/".join([*folders[:last], LABELS, *folders[last + 1 :]]) + ".txt"


def _lines(path: Path) -> list[str]:
    """Return the lines of a file of labels that are not empty; none if it does not exist."""
    with damaged(path), suppress(FileNotFoundError):
        check_regular(path)
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return []


def _is_labels(path: Path) -> bool:
    """Return True if every line is a class and coordinates."""
    try:
        rows = [line.split() for line in _lines(path)]
        return all(
            row[0].isdecimal() and len(row) % 2 and all(-1 <= float(v) <= 2 for v in row[1:])
            for row in rows
        )
    except (UserError, ValueError):
        return False


def _check_outlines(root: Path, labels: Sequence[str]) -> None:
    """Raise UserError if the first files with a region have boxes."""
    for label in labels:
        if lines := _lines(root / label):
            if all(len(line.split()) == 5 for line in lines):
                raise UserError(
                    f"{root / label}: its lines are boxes (a class and four numbers), which do not "
                    "outline the objects. Export the data set for segmentation."
                )
            return


def _read_names(root: Path, paths: Sequence[str]) -> list[str]:
    """Return the names of the classes by their index."""
    for name in NAME_FILES:
        if name not in paths:
            continue
        values = read_values(root / name, FIX).get("names")
        if isinstance(values, dict) and all(isinstance(key, int) for key in values):
            values = [values.get(i, f"class_{i}") for i in range(max(values, default=-1) + 1)]
        if isinstance(values, list) and values:
            return [str(value) for value in values]
        raise UserError(f"{root / name}: names must be a list of classes. Add it.")
    raise UserError(
        f"data.root={root}: there are labels of YOLO, but no {NAME_FILES[0]} with the names of the "
        "classes. Add one, with a line such as names: [cat, dog]."
    )
