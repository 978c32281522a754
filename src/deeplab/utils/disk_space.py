"""The room that work takes on disks, and what to say when there is not enough."""

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from deeplab.utils.errors import UserError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""No space, a quota, a limit on the size of a file."""

AGAIN = "run this again; it goes on where it stopped"


class Need(NamedTuple):
    """What a step will write."""

    step: str
    folder: Path
    size: int  # bytes
    note: str = ""


def readable(count: float) -> str:
    """A number of bytes for a person: ``19.3GB``."""
    return tqdm.format_sizeof(count, "B")


def announce(needs: Sequence[Need]) -> None:
    """Say what will be written where, before it is.

    Raises:
        UserError: a disk has not as much room.
    """
    disks: dict[int, list[Need]] = {}
    for need in needs:
        disks.setdefault(_existing(need.folder).stat().st_dev, []).append(need)
        free = readable(_free(need.folder))
        room = readable(need.size)
        print(f"  {need.step:<9} {room:>7} into {need.folder} ({free} free{need.note})")
    for together in disks.values():
        total, left = sum(need.size for need in together), _free(together[0].folder)
        if total > left:
            raise UserError(
                f"{' and '.join(str(need.folder) for need in together)}: {readable(total)} are "
                f"needed there and {readable(left)} are free. Make room, or choose other places: "
                "data.root=..., downloads=..."
            )


def size_below(folder: Path) -> int:
    """The bytes of all files below a folder."""
    places = (Path(place, name) for place, _, files in os.walk(folder) for name in files)
    return sum(path.lstat().st_size for path in places)


def to_download(folder: Path, sizes: Mapping[str, int | None]) -> Need:
    """What the files of these names and sizes will take that are not there, or in part."""
    unknown = [name for name, size in sizes.items() if size is None]
    note = f"; the size of {', '.join(unknown)} is not known" if unknown else ""
    left = sum(max(0, (size or 0) - _there(folder / name)) for name, size in sizes.items())
    return Need("download", folder, left, note)


def _there(path: Path) -> int:
    part = path.with_name(f"{path.name}.part")
    return next((p.stat().st_size for p in (path, part) if p.is_file()), 0)


def is_same_disk(one: Path, other: Path) -> bool:
    """Whether two places, or where they are going to be, are on the same file system."""
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def require(folder: Path, needed: int) -> None:
    """See to it that a folder has room for so many bytes more.

    Raises:
        UserError: it has not.
    """
    if _free(folder) < needed:
        raise UserError(f"{folder}: {_shortage(folder, needed)}. Make room there, then {AGAIN}.")


def refusal(error: OSError, folder: Path, needed: int | None = None) -> UserError:
    """What to raise after a failure to write below ``folder``, with the bytes still missing."""
    if error.errno in FULL:
        shortage = f"; {_shortage(folder, needed)}" if needed is not None else ""
        return UserError(
            f"{folder}: {error.strerror}{shortage}. Make room there (or raise the quota, or the "
            f"limit on file sizes that ulimit -f shows), then {AGAIN}."
        )
    return UserError(
        f"{error.filename or folder}: this cannot be written ({error.strerror or error}). "
        "Choose a folder that can."
    )


def _shortage(folder: Path, needed: int) -> str:
    free = readable(_free(folder))
    return f"at least {readable(needed)} more are needed there and {free} are free"


def _free(folder: Path) -> int:
    return shutil.disk_usage(_existing(folder)).free


def _existing(path: Path) -> Path:
    return next(p for p in (path.resolve(), *path.resolve().parents) if p.exists())
