"""What a person has already: archives, or folders of files."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from deeplab.errors import UserError
from deeplab.files import replacing

Select = Callable[[str], str | None]
"""A file's path to its path in the prepared folder; None leaves it out."""


class Source(NamedTuple):
    """What was found."""

    archives: dict[str, Path]  # by part
    folder: Path | None  # with loose files that are wanted


def find_source(source: Path, names: Mapping[str, str], select: Select) -> Source:
    """Look for archives by their names, and for wanted files.

    Args:
        source: a folder, or one archive.
        names: the file name of each part's archive.
        select: says which files are wanted.

    Raises:
        UserError: nothing is there that could be used.
    """
    if source.is_file():
        known = {part for part, name in names.items() if name == source.name}
        return Source({known.pop() if known else source.name: source}, None)
    if not source.is_dir():
        raise UserError(f"source={source}: this does not exist.")
    archives = {}
    for part, name in names.items():
        found = next((p for p in (source / name, *source.glob(f"*/{name}")) if p.is_file()), None)
        if found:
            archives[part] = found
    loose = any(select(path) is not None for path in walk(source))
    if not archives and not loose:
        raise UserError(
            f"source={source}: neither an archive ({', '.join(names.values())}) nor unpacked files "
            "of this data set are here."
        )
    return Source(archives, source if loose else None)


def walk(folder: Path) -> list[str]:
    """The files below a folder, as paths relative to it, sorted."""
    found = []
    for place, _, files in os.walk(folder, followlinks=True):
        start = Path(place).relative_to(folder).as_posix()
        found += [name if start == "." else f"{start}/{name}" for name in files]
    return sorted(found)


def adopt(folder: Path, target: Path, select: Select, *, progress: bool = True) -> list[str]:
    """Put the wanted files of a folder below ``target``: as hard links, which take no space, or as
    copies where the file systems differ. Returns their paths below it."""
    wanted = [(name, path) for name in walk(folder) if (path := select(name)) is not None]
    for name, path in tqdm(wanted, f"Taking over {folder}", disable=not progress):
        _take(folder / name, target / path)
    return [path for _, path in wanted]


def _take(old: Path, new: Path) -> None:
    if new.is_file() and new.stat().st_size == old.stat().st_size:
        return
    with replacing(new) as draft:
        try:
            os.link(old.resolve(), draft)
        except OSError:
            shutil.copyfile(old, draft)
