"""Annotated images of a folder: what every labeling tool's export is read into."""

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar
from unicodedata import normalize
from xml.etree.ElementTree import ParseError

from pydantic import BaseModel, ConfigDict

from deeplab.data.annotations.regions import LabelDrawing, Pixels, Region
from deeplab.data.bad_files import BadFileError
from deeplab.data.image_header import Header
from deeplab.data.layouts.file_names import shared_start
from deeplab.data.orientation import as_stored
from deeplab.utils.reading import check_regular, describe
from deeplab.utils.text import name_some

M = TypeVar("M", bound=BaseModel)

FIX = "Export it again from the labeling tool."

MAX_OTHERS = 3
"""Number of files in other forms after which the rest of a folder is not opened."""


class AnnotatedRegions(NamedTuple):
    """Regions of an image, and its height and width if the annotation tells them."""

    regions: list[Region]
    size: tuple[int, int] | None


class Record(BaseModel):
    """Part of an annotation file; keys that are not needed are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class AnnotationSet(ABC):
    """Annotations of the images of a folder, in the form of one labeling tool.

    Args:
        root: the folder.
        paths: its files, as paths below it.
        files: those of them that ``find`` has found.
    """

    form: ClassVar[str]
    """Name for ``data.annotations``."""
    tool: ClassVar[str]
    """Name of the tool or the form."""
    overlap_is_ignored: ClassVar[bool] = False
    """Regions have no order; pixels of two classes are ignored."""

    def __init__(self, root: Path, paths: Sequence[str], files: Sequence[str]) -> None:
        self.root = root
        self.images: dict[str, str] = {}
        """File of annotations of each image, both as paths below the root; it may not exist."""
        self.names: list[str] = []
        """Classes of the regions, in the order of the indices that they get."""
        self.notes: list[str] = []
        """Lines about what is not used."""

    def note_missing(self, names: Sequence[str]) -> None:
        """Add a line about images that are annotated but not in the folder."""
        if names:
            self.notes.append(
                f"{len(names)} annotated images are not in this folder: {name_some(names)}"
            )

    def note_lines(self, number: int) -> None:
        """Add a line about shapes without an area."""
        if number:
            self.notes.append(f"{number} lines and points, which have no area, are not used")

    @classmethod
    @abstractmethod
    def find(cls, root: Path, paths: Sequence[str]) -> list[str]:
        """Return the files of a folder that are in this form; others are opened to see that."""

    @abstractmethod
    def regions(self, image: str) -> AnnotatedRegions:
        """Return the regions of an image, the lowest first.

        Raises:
            BadFileError: its annotation is damaged.
        """


class Annotation(NamedTuple):
    """Annotation of one image, from which its label map is drawn."""

    source: AnnotationSet
    image: str
    """Path of the image below the root."""
    drawing: LabelDrawing

    def __str__(self) -> str:
        return f"{self.source.tool}: {self.drawing}"

    def draw(self, header: Header) -> Pixels:
        """Return the label map ``(H, W)`` of the pixels as they are stored.

        Labeling tools show a photo upright by its EXIF orientation. So its regions are taken to lie
        on the upright image, unless the annotation records the size of the stored one.

        Args:
            header: header of the image.

        Raises:
            BadFileError: the annotation is damaged, of another size, or has a class that is none.
        """
        path = self.source.root / self.source.images[self.image]
        regions, recorded = self.source.regions(self.image)
        shown, orientation = header.shown_size, header.orientation
        if recorded == header.size != shown:
            shown, orientation = header.size, 1
        if recorded not in (None, shown):
            raise BadFileError(
                "image and annotation of different sizes",
                path,
                f"{self.image} is {shown[1]} x {shown[0]} pixels, its annotation is for "
                f"{recorded[1]} x {recorded[0]} (width x height)",
                "Use the images that were annotated, or scale the annotations with them.",
            )
        try:
            with damaged(path):
                return as_stored(self.drawing.draw(regions, *shown), orientation)
        except KeyError as error:
            raise BadFileError(
                "class not listed",
                path,
                f"{self.image} has a region of {error.args[0]!r}, which is no class",
                "Add it to data.classes, or set data.unlisted_values=background or ignore.",
            ) from None


class ImageFinder:
    """The images of a folder by the names that annotations give them.

    Only files of the folder are found, whatever path an annotation has. Names are compared in
    Unicode's composed form.

    Args:
        images: paths of images below the folder.
    """

    def __init__(self, images: Iterable[str]) -> None:
        self.by_end: dict[str, list[str]] = defaultdict(list)
        for path in images:
            for end in _ends(path):
                self.by_end[end].append(path)

    def find(self, name: str, near: str) -> str | None:
        """Return the image that an annotation names; None if there is none, or several as good.

        Args:
            name: its name or path in the annotation.
            near: path of the annotation, to choose between images of one name.
        """
        ends = _ends(name.replace("\\", "/").rstrip("/"))
        found = next((self.by_end[end] for end in ends if end in self.by_end), [])
        if len(found) < 2:
            return found[0] if found else None
        folders = near.split("/")[:-1]
        shared = [shared_start(path.split("/")[:-1], folders) for path in found]
        most = max(shared)
        return found[shared.index(most)] if shared.count(most) == 1 else None


def _ends(path: str) -> list[str]:
    """Return a path and what is left of it without its first folders, the longest first."""
    parts = normalize("NFC", path).split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def read_json(path: Path, schema: type[M]) -> M:
    """Return the content of a JSON file.

    Raises:
        BadFileError: it cannot be read, or is in another form.
    """
    with damaged(path):
        check_regular(path)
        return schema.model_validate_json(path.read_bytes())


def json_files(root: Path, paths: Sequence[str], start: str, *words: str) -> list[str]:
    """Return the JSON files in a form; after some others in a folder its rest is not opened.

    Args:
        root: the folder.
        paths: its files.
        start: first character.
        words: keys that all files in the form have.
    """
    files: list[str] = []
    others: Counter[str] = Counter()
    for path in paths:
        folder = path.rpartition("/")[0]
        if path.lower().endswith(".json") and others[folder] < MAX_OTHERS:
            if has_words(root / path, start, *words):
                files.append(path)
            else:
                others[folder] += 1
    return files


def has_words(path: Path, start: str, *words: str) -> bool:
    """Return True if a file has some keys; it may have gigabytes and is not parsed."""
    try:
        check_regular(path)
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            begins = content[:100].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(start.encode())
            return begins and all(content.find(f'"{word}"'.encode()) >= 0 for word in words)
    except (OSError, ValueError):  # also of an empty file
        return False


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Turn errors of the block into that of a damaged annotation file."""
    try:
        yield
    except (OSError, ParseError, ValueError) as error:
        raise BadFileError(
            "damaged annotation", path, f"cannot be read ({describe(error)})", FIX
        ) from None
