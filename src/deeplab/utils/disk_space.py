"""Required and free disk space."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from deeplab.utils.errors import UserError
from deeplab.utils.text import format_size

RUN_AGAIN, RESUMES = "run this again", "; it resumes where it stopped"


class SpaceRequirement(NamedTuple):
    """The bytes that a step will write into a folder."""

    step: str
    folder: Path
    size: int  # bytes
    note: str = ""


def check_space(requirements: Sequence[SpaceRequirement]) -> None:
    """Print the space that each step needs and check that it is free.

    Raises:
        UserError: a disk has too little free space.
    """
    disks: dict[int, list[SpaceRequirement]] = {}
    for required in requirements:
        disks.setdefault(_existing_parent(required.folder).stat().st_dev, []).append(required)
        free = format_size(_free_bytes(required.folder))
        size = format_size(required.size)
        print(f"  {required.step:<9} {size:>8} into {required.folder} ({free} free{required.note})")
    for same_disk in disks.values():
        total = sum(required.size for required in same_disk)
        free_bytes = _free_bytes(same_disk[0].folder)
        if total > free_bytes:
            raise UserError(
                f"{' and '.join(str(required.folder) for required in same_disk)}: "
                f"{format_size(total)} needed, {format_size(free_bytes)} free. Free some space, or "
                "set data.root=... and download_dir=... to folders on other disks."
            )


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    paths = (Path(parent, name) for parent, _, files in os.walk(folder) for name in files)
    return sum(path.lstat().st_size for path in paths)


def download_requirement(folder: Path, sizes: Mapping[str, int | None]) -> SpaceRequirement:
    """Return the space that files of these names and sizes need beyond what is downloaded."""
    unknown = [name for name, size in sizes.items() if size is None]
    note = f"; the size of {', '.join(unknown)} is not known" if unknown else ""
    missing = sum(max(0, (size or 0) - _received(folder / name)) for name, size in sizes.items())
    return SpaceRequirement("download", folder, missing, note)


def _received(path: Path) -> int:
    part = path.with_name(f"{path.name}.part")
    return next((p.stat().st_size for p in (path, part) if p.is_file()), 0)


def is_same_disk(first: Path, second: Path) -> bool:
    """Return True if two paths, which need not exist yet, are on the same file system."""
    return _existing_parent(first).stat().st_dev == _existing_parent(second).stat().st_dev


def require_space(folder: Path, num_bytes: int) -> None:
    """Check that a folder has room for this many more bytes.

    Raises:
        UserError: it has less.
    """
    if _free_bytes(folder) < num_bytes:
        shortage = describe_shortage(folder, num_bytes)
        raise UserError(f"{folder}: {shortage}. Free some space there, then {RUN_AGAIN}{RESUMES}.")


def describe_shortage(folder: Path, num_bytes: int) -> str:
    """Return how many bytes a folder needs, beside how many are free."""
    free = format_size(_free_bytes(folder))
    return f"at least {format_size(num_bytes)} more needed, {free} free"


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(_existing_parent(folder)).free


def _existing_parent(path: Path) -> Path:
    return next(p for p in (path.resolve(), *path.resolve().parents) if p.exists())
