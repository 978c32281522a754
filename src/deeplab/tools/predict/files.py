"""The files that a user names to be predicted: pictures, folders, patterns, videos."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from deeplab.data.image_io import IMAGE_SUFFIXES
from deeplab.tools.predict.outputs import Results
from deeplab.utils.errors import UserError

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")

ENDINGS = (".png", "_overlay.jpg", "_overlay.mp4", "_legend.jpg", ".npz", "_frames")
"""What is written for an input is called as it is, with some of these for its suffix."""


class Source(NamedTuple):
    """A picture or a video, and where its results go."""

    path: Path
    target: Path
    """In the output folder, without a suffix."""

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEO_SUFFIXES

    @property
    def is_renamed(self) -> bool:
        """Whether its results are called otherwise than it is, since another has its name."""
        return self.target.name != self.path.stem

    def result(self, ending: str) -> Path:
        """The file that is written with this ending."""
        return self.target.with_name(self.target.name + ending)

    def results(self, *, overlay: bool, probabilities: bool, frames: bool) -> list[Path]:
        """All that is written for it."""
        if self.is_video:
            wanted = {"_overlay.mp4": overlay, "_legend.jpg": overlay, "_frames": frames}
        else:
            wanted = {".png": True, "_overlay.jpg": overlay, ".npz": probabilities}
        return [self.result(ending) for ending, is_written in wanted.items() if is_written]


class Found(NamedTuple):
    """What the inputs stand for."""

    sources: list[Source]
    others: Counter[str]
    """Files in folders and patterns that are neither pictures nor videos, by suffix."""


def find_sources(named: Sequence[str], output: Path) -> Found:
    """The files that ``input`` names, each once.

    A folder is searched with all below it, but for hidden files and earlier results, which no
    pattern stands for either; results lie in the output as the files lie in the folder, or below
    the part of a pattern that is fixed.
    Files of one name get results named by their suffix too, and by a number if that is not enough.

    Raises:
        UserError: one of the inputs is nothing, or results would be written over them.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    others: dict[Path, str] = {}
    results = Results()
    for text in named:
        try:
            for path, place in _expanded(text, output, results, others):
                found.setdefault(path.resolve(), (path, place))
        except OSError as error:
            raise UserError(f"input={text}: this cannot be read ({error.strerror}).") from None
    places = [place for _, place in found.values()]
    names = _names(places)
    sources = [Source(p, output / name) for (p, _), name in zip(found.values(), names, strict=True)]
    for source in sources:
        for ending in ENDINGS:
            if source.result(ending).resolve() in found:
                raise UserError(
                    f"output={output}: {source.result(ending)} would be written there, which is an "
                    "input. Name another folder."
                )
    return Found(sources, Counter(others.values()))


def _expanded(
    text: str, output: Path, results: Results, others: dict[Path, str]
) -> Iterator[tuple[Path, Path]]:
    """The files that one input stands for, each with its place in the output; the suffixes of
    files of other kinds go into ``others``."""
    start = Path(text).expanduser()
    if start.is_file():  # first, since [ and * may stand in its name
        yield start, Path(start.name)
        return
    if start.is_dir():
        if start.resolve() == output.resolve():
            raise UserError(
                f"output={output}: this is a folder of the input, where results would lie among "
                "the pictures. Name another folder."
            )
        roots, base = [start], start
    else:
        roots, base = _matches(start), _fixed_part(start)
    if not roots:
        raise UserError(f"input={text}: there is no such file or folder, and no match.")
    there = [file for root in roots for file in _searched(root) if not results.has(file)]
    files = [file for file in there if _is_wanted(file)]
    others |= {file.resolve(): file.suffix.lower() for file in there if not _is_wanted(file)}
    if not files:
        raise UserError(
            f"input={text}: no picture or video there that is not a result of predict.py. Looked "
            f"for {', '.join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)}."
        )
    for file in files:
        yield file, file.relative_to(base)


def _matches(pattern: Path) -> list[Path]:
    found = glob.glob(str(pattern), recursive=True)  # noqa: PTH207  pathlib's takes no / in front
    return [Path(match) for match in sorted(found)]


def _fixed_part(pattern: Path) -> Path:
    """The folder that a pattern's matches lie below."""
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def _searched(root: Path) -> Iterator[Path]:
    """The files of a folder and below, or the file itself, but for hidden ones."""
    if root.is_file():
        if not root.name.startswith("."):
            yield root
        return
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = (Path(place, name) for name in sorted(files) if not name.startswith("."))
        yield from (path for path in shown if path.is_file())  # a pipe would be waited for


def _is_wanted(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES


def _names(places: Sequence[Path]) -> list[str]:
    """Names for results, different also where capitals do not count."""
    same = Counter(str(place.with_suffix("")).casefold() for place in places)
    taken: set[str] = set()
    names = []
    for place in places:
        stem = str(place.with_suffix(""))
        wanted = name = stem if same[stem.casefold()] == 1 else str(place)
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{wanted}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
