"""Input files of a prediction: images, videos, folders and patterns, with their output paths."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from deeplab.data.layouts.base import ARRAY_SUFFIX, IMAGE_SUFFIXES
from deeplab.data.layouts.file_names import SYSTEM_FOLDERS, is_hidden
from deeplab.tools.predict.outputs import OutputRecords
from deeplab.utils.errors import UserError
from deeplab.utils.program import command

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")

OUTPUT_ENDINGS = (".png", "_overlay.jpg", "_overlay.mp4", "_legend.jpg", ".npz", "_frames")
"""Endings of the outputs of an input, which replace its suffix."""


class InputFile(NamedTuple):
    """An image or a video, and the paths of its outputs."""

    path: Path
    output_stem: Path
    """Path in the output folder, without an ending."""

    @property
    def is_video(self) -> bool:
        """True for a video, False for an image."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES

    @property
    def is_renamed(self) -> bool:
        """True if the outputs have another name than the input, to keep them apart from others."""
        return self.output_stem.name != self.path.stem

    def output_path(self, ending: str) -> Path:
        """Return the path of the output with an ending."""
        return self.output_stem.with_name(self.output_stem.name + ending)

    def output_paths(
        self, *, save_overlay: bool, save_probabilities: bool, save_frames: bool
    ) -> list[Path]:
        """Return the paths of all outputs that these settings write."""
        if self.is_video:
            endings = {
                "_overlay.mp4": save_overlay,
                "_legend.jpg": save_overlay,
                "_frames": save_frames,
            }
        else:
            endings = {".png": True, "_overlay.jpg": save_overlay, ".npz": save_probabilities}
        return [self.output_path(ending) for ending, is_written in endings.items() if is_written]


class Inputs(NamedTuple):
    """All files to predict, and the count of those that were skipped."""

    files: list[InputFile]
    skipped: Counter[str]
    """Files in folders and patterns that are neither images nor videos, by suffix."""


def find_inputs(paths: Sequence[str], output: Path, *, arrays: bool = False) -> Inputs:
    """Find the files that ``input`` lists, each once.

    A folder is searched with all its subfolders. Hidden files, folders of the system and the
    results of earlier predictions are left out, of folders and of patterns alike. The output folder
    mirrors an input folder, or the folders below the fixed part of a pattern. If files share a
    name, their outputs keep the suffix in their names, and get a number if that is not enough.

    Args:
        paths: files, folders and patterns.
        output: folder of the results.
        arrays: NumPy arrays in folders are images.

    Raises:
        UserError: one of the inputs does not exist, or results would overwrite an input.
    """
    unique: dict[Path, tuple[Path, Path]] = {}  # by resolved path
    skipped: dict[Path, str] = {}
    records = OutputRecords()
    suffixes = IMAGE_SUFFIXES + VIDEO_SUFFIXES + (ARRAY_SUFFIX,) * arrays
    for text in paths:
        try:
            for path, relative_path in _expand(text, output, records, skipped, suffixes):
                unique.setdefault(path.resolve(), (path, relative_path))
        except OSError as error:
            raise UserError(f"input={text}: cannot be read ({error.strerror}).") from None
    names = _unique_names([relative_path for _, relative_path in unique.values()])
    files = [
        InputFile(path, output / name)
        for (path, _), name in zip(unique.values(), names, strict=True)
    ]
    for file in files:
        for ending in OUTPUT_ENDINGS:
            if file.output_path(ending).resolve() in unique:
                raise UserError(
                    f"output={output}: {file.output_path(ending)} would be written, which is one "
                    "of the inputs. Set output to another folder."
                )
    return Inputs(files, Counter(skipped.values()))


def check_inputs(paths: Sequence[str]) -> None:
    """Raise UserError if one of the inputs does not exist, without a search of its folders."""
    for text in paths:
        with suppress(OSError):  # which finding the files reports
            _roots(text)


def _roots(text: str) -> tuple[list[Path], Path]:
    """Return the file or folder that an input names, or the matches of a pattern; and their base.

    Raises:
        UserError: there is none.
    """
    start = Path(text).expanduser()
    if start.is_file() or start.is_dir():  # before patterns, as a file name may contain [ and *
        return [start], start
    base = _fixed_part(start)
    roots = [
        match for match in _glob(start)
        if SYSTEM_FOLDERS.isdisjoint(part.lower() for part in match.relative_to(base).parts)
    ]  # fmt: skip
    if not roots:
        raise UserError(f"input={text}: no such file or folder, and no match as a pattern.")
    return roots, base


def _expand(
    text: str,
    output: Path,
    records: OutputRecords,
    skipped: dict[Path, str],
    suffixes: Sequence[str],
) -> Iterator[tuple[Path, Path]]:
    """Yield the files of one input, each with its path relative to the output folder.

    The suffixes of files that are neither images nor videos are added to ``skipped``.
    """
    roots, base = _roots(text)
    if base.is_file():
        yield base, Path(base.name)
        return
    if roots == [base] and base.resolve() == output.resolve():
        raise UserError(
            f"output={output}: this is a folder of the input, so that results would lie among the "
            "images. Set output to another folder."
        )
    candidates = [file for root in roots for file in _walk(root) if not records.contains(file)]
    files = [file for file in candidates if file.suffix.lower() in suffixes]
    skipped |= {
        file.resolve(): file.suffix.lower()
        for file in candidates
        if file.suffix.lower() not in suffixes
    }
    if not files:
        raise UserError(
            f"input={text}: no image or video found, apart from results of "
            f"{command('predict')}. Supported "
            f"suffixes: {', '.join(suffixes)}."
        )
    for file in files:
        yield file, file.relative_to(base)


def _glob(pattern: Path) -> list[Path]:
    matches = glob.glob(str(pattern), recursive=True)  # noqa: PTH207  pathlib rejects a leading /
    return [Path(match) for match in sorted(matches)]


def _fixed_part(pattern: Path) -> Path:
    """Return the folder above all matches of a pattern."""
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def _walk(root: Path) -> Iterator[Path]:
    """Yield the file itself, or the files of a folder and its subfolders, without hidden ones."""
    if root.is_file():
        if not is_hidden(root.name):
            yield root
        return
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        paths = (Path(folder, name) for name in sorted(files) if not is_hidden(name))
        yield from (path for path in paths if path.is_file())  # reading a pipe would block


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """Return names for outputs that differ by more than upper and lower case."""
    counts = Counter(str(path.with_suffix("")).casefold() for path in paths)
    taken: set[str] = set()
    names = []
    for path in paths:
        stem = str(path.with_suffix(""))
        base = name = stem if counts[stem.casefold()] == 1 else str(path)
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
