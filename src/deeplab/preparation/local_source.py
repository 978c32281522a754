"""What a person has already: archives, or folders of files."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from deeplab.preparation.file_selection import FILES, SBD, parts_of, selection
from deeplab.utils.archives import unpack
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write


class Source(NamedTuple):
    """What was found."""

    archives: dict[str, Path]  # by part, or by its own name if that tells no part
    files: dict[Path, Path]  # loose ones, and where they go
    parts: frozenset[str]  # of the loose ones


NOTHING = Source({}, {}, frozenset())


def find_source(
    source: Path, root: Path, kind: str, names: Mapping[str, str], parts: tuple[str, ...]
) -> Source:
    """SeedResult for archives by their names, and for loose files of the parts that have none.

    Args:
        source: a folder, or one archive.
        root: the folder that is prepared.
        kind: the layout, as ``selection`` knows it.
        names: the file name of each part's archive.
        parts: the wanted ones; an archive is taken whatever it is.

    Raises:
        UserError: nothing is there that could be used.
    """
    if source.is_file():
        part = next((part for part, name in names.items() if name == source.name), source.name)
        return NOTHING._replace(archives={part: source})
    if not source.is_dir():
        raise UserError(f"source={source}: this does not exist.")
    if not parts:
        return NOTHING
    archives = {}
    for part in parts:
        if found := find_archive(source, names[part]):
            archives[part] = found
    loose = [part for part in parts if part not in archives]
    files = _loose_files(source, root, kind, loose) if loose else {}
    here = parts_of(kind, (path.as_posix() for path in files))
    unknown = {part for part in loose if part not in FILES[kind]} if files else set()
    if not archives and not here and not unknown:
        raise UserError(
            f"source={source}: neither an archive ({', '.join(names[part] for part in parts)}) nor "
            f"unpacked files of {kind} ({', '.join(parts)}) are here."
        )
    return Source(archives, files, frozenset(here & {*loose} | unknown))


def find_archive(folder: Path, name: str) -> Path | None:
    """A file of this name in a folder or one folder below."""
    places = (folder / name, *sorted(folder.glob(f"*/{name}")))
    return next((path for path in places if path.is_file()), None)


def _loose_files(source: Path, root: Path, kind: str, parts: list[str]) -> dict[Path, Path]:
    """The wanted files and where they go; where several go to one place, the first."""
    select = selection(kind, parts, root)
    files: dict[Path, Path] = {}
    taken = set()
    for name in walk(source):
        target = select(name)
        if target is not None and target not in taken:
            taken.add(target)
            files[source / name] = root / target
    return files


def walk(folder: Path) -> list[str]:
    """The files below a folder that can be looked into, as paths relative to it, sorted."""
    return sorted(_files_below(folder, "", frozenset()))


def _files_below(folder: Path, start: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    try:
        status = folder.stat()
        entries = list(os.scandir(folder))
    except OSError:  # lost+found, for one
        return
    here = (status.st_dev, status.st_ino)
    for entry in entries if here not in above else ():  # a link may lead back
        if entry.is_dir() and entry.name != SBD:
            yield from _files_below(Path(entry), f"{start}{entry.name}/", above | {here})
        elif entry.is_file():
            yield start + entry.name


def place(
    source: Source, root: Path, kind: str, *, overwrite: bool, progress: bool = True
) -> set[str]:
    """Unpack the archives and take over the loose files; returns the parts that are there then.

    Raises:
        UserError: an archive is damaged, or is not what its name says.
    """
    made = set(source.parts)
    for part, archive in source.archives.items():
        named = part != archive.name
        select = selection(kind, [part] if named else FILES[kind], root)
        paths = unpack(archive, root, select=select, overwrite=overwrite, progress=progress)
        found = parts_of(kind, paths)
        if named and part not in FILES[kind] and paths:
            found = {part}
        if not found:
            raise UserError(
                f"{archive}: this archive has no file of {part if named else kind}. See whether it "
                "is the right one."
            )
        made |= found
    adopt(source.files, overwrite=overwrite, progress=progress)
    return made


def adopt(files: Mapping[Path, Path], *, overwrite: bool = False, progress: bool = True) -> None:
    """Put files to their places: as hard links, which take no room, or as copies where the file
    systems differ. What is there with the same size is left as it is, unless ``again``."""
    shown = progress and bool(files)
    for old, new in tqdm(files.items(), "Taking over", unit=" files", disable=not shown):
        if new.is_file() and (new.samefile(old) or (not overwrite and _size(new) == _size(old))):
            continue
        with atomic_write(new) as draft:
            try:
                os.link(old.resolve(), draft)
            except OSError:
                shutil.copyfile(old, draft)


def _size(path: Path) -> int:
    return path.stat().st_size
