"""Archives and unpacked files that the user already has."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from deeplab.data.layouts.file_names import list_files
from deeplab.preparation.file_selection import PART_FILES, detect_parts, file_selector
from deeplab.utils.archives import unpack
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.progress import show_progress


class Source(NamedTuple):
    """Local archives and unpacked files."""

    archives: dict[str, Path]  # by part, or by its own name if that identifies no part
    files: dict[Path, Path]  # unpacked files and their targets
    parts: frozenset[str]  # of the unpacked files


EMPTY_SOURCE = Source({}, {}, frozenset())


def find_source(
    source: Path, root: Path, layout: str, names: Mapping[str, str], parts: tuple[str, ...]
) -> Source:
    """Find archives by their names, and unpacked files of the parts that have no archive.

    Args:
        source: a folder, or one archive.
        root: the folder that is prepared.
        layout: a layout of ``file_selector``.
        names: the file name of each part's archive.
        parts: the parts to find; a single archive is taken whatever it is.

    Raises:
        UserError: nothing usable was found.
    """
    if source.is_file():
        part = next((part for part, name in names.items() if name == source.name), source.name)
        return EMPTY_SOURCE._replace(archives={part: source})
    if not source.is_dir():
        raise UserError(f"source={source}: does not exist. Set source to a folder or an archive.")
    if not parts:
        return EMPTY_SOURCE
    archives = {}
    for part in parts:
        if path := find_archive(source, names[part]):
            archives[part] = path
    without_archive = [part for part in parts if part not in archives]
    files = _unpacked_files(source, root, layout, without_archive) if without_archive else {}
    detected = detect_parts(layout, (path.as_posix() for path in files))
    unlisted = {part for part in without_archive if part not in PART_FILES[layout]}
    unlisted = unlisted if files else set()
    if not archives and not detected and not unlisted:
        raise UserError(
            f"source={source}: has neither an archive ({', '.join(names[p] for p in parts)}) nor "
            f"unpacked files of {layout} ({', '.join(parts)}). Set source to a folder with one of "
            "them."
        )
    return Source(archives, files, frozenset(detected & {*without_archive} | unlisted))


def find_archive(folder: Path, name: str) -> Path | None:
    """Return the file of this name in a folder or in one of its subfolders."""
    candidates = (folder / name, *sorted(folder.glob(f"*/{name}")))
    return next((path for path in candidates if path.is_file()), None)


def _unpacked_files(source: Path, root: Path, layout: str, parts: list[str]) -> dict[Path, Path]:
    """Return the used files and their targets; of several with the same target, the first."""
    select = file_selector(layout, parts, root)
    files: dict[Path, Path] = {}
    targets = set()
    for name in list_files(source):
        target = select(name)
        if target is not None and target not in targets and (source / name).is_file():
            targets.add(target)
            files[source / name] = root / target
    return files


def install_source(
    source: Source, root: Path, layout: str, *, overwrite: bool, progress: bool = True
) -> set[str]:
    """Unpack the archives and link or copy the unpacked files; return the installed parts.

    Raises:
        UserError: an archive is damaged, or its content does not match its name.
    """
    installed = set(source.parts)
    for part, archive in source.archives.items():
        part_is_known = part != archive.name
        select = file_selector(layout, [part] if part_is_known else PART_FILES[layout], root)
        paths = unpack(archive, root, select=select, overwrite=overwrite, progress=progress)
        detected = detect_parts(layout, paths)
        if part_is_known and part not in PART_FILES[layout] and paths:
            detected = {part}
        if not detected:
            raise UserError(
                f"{archive}: the archive has no file of {part if part_is_known else layout}. Check "
                "that it is the right one."
            )
        installed |= detected
    link_or_copy(source.files, overwrite=overwrite, progress=progress)
    return installed


def link_or_copy(
    files: Mapping[Path, Path], *, overwrite: bool = False, progress: bool = True
) -> None:
    """Hard-link files to their targets, which takes no space, or copy them across file systems.

    An existing target of the same size is kept, unless ``overwrite``.
    """
    shown = progress and bool(files)
    pairs = show_progress(files.items(), "Linking or copying", len(files), "file", show=shown)
    for old, new in pairs:
        if new.is_file() and (new.samefile(old) or (not overwrite and _size(new) == _size(old))):
            continue
        with atomic_write(new, flush=False) as temporary:
            try:
                os.link(old.resolve(), temporary)
            except OSError:
                shutil.copyfile(old, temporary)


def _size(path: Path) -> int:
    return path.stat().st_size
