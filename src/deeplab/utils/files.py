"""Atomic writes: a file exists completely or not at all.

The package for this, ``atomicwrites``, is no longer maintained.
"""

import errno
import hashlib
import json
import math
import os
import platform
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import Any

from deeplab.utils.interrupts import is_running
from deeplab.utils.write_errors import FULL_ERRNOS, report_full_disk, report_write_errors

LONGEST_KEPT_NAME = 200
"""Bytes of the longest file name that is kept in a temporary one, which is longer; file systems
allow 255."""

SET_ASIDE_MARKER = ".old-"
"""Between the name and the time of what is moved aside to make room for a new one."""

UMASK = os.umask(0o077)
os.umask(UMASK)  # the only way to read it; now, before there are threads

_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]

_TEMPORARY = re.compile(r"\..+\.(?P<host>[0-9a-f]{6})\.(?P<process>\d+)")
"""Names of temporary files: ``.NAME.HOST.PROCESS``."""


@contextmanager
def atomic_write(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it is renamed to ``path`` if the block succeeds.

    The file has the mode of the umask, whatever writes it.

    Args:
        path: the file, whose folders are created.
        flush: wait until the file is on the disk before it is renamed, so that it is complete after
            a power failure too. Takes milliseconds; leave it out for thousands of files whose
            completeness is recorded elsewhere.

    Raises:
        UserError: the disk is full.
    """
    temporary = _temporary_path(path)
    with report_full_disk(path.parent):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _complete(temporary, flush=flush)
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder, which is renamed to ``path`` if the block succeeds.

    If another process has made ``path`` in the meantime, its folder stays.

    Raises:
        UserError: the disk is full.
    """
    temporary = _temporary_path(path)
    with report_full_disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        temporary.mkdir()
        try:
            yield temporary
            for folder, _, names in os.walk(temporary):
                for name in names:
                    _complete(Path(folder, name), flush=True)
            try:
                temporary.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _temporary_path(path: Path) -> Path:
    name = path.name
    if len(name.encode()) > LONGEST_KEPT_NAME:
        name = hashlib.sha256(name.encode()).hexdigest() + path.suffix
    return path.with_name(f".{name}.{_HOST}.{os.getpid()}")


def _complete(file: Path, *, flush: bool) -> None:
    """Set the mode of a new file and write it out to the disk."""
    status = file.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:  # a link to an existing file
        return
    with suppress(PermissionError):  # a file system without modes
        file.chmod(0o666 & ~UMASK)
    if flush:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno in FULL_ERRNOS | {errno.EIO}:
                raise
            # a file system that cannot flush
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path, *, exclusive: bool = False) -> None:
    """Remove the temporary files and folders of killed processes from a folder.

    Args:
        folder: the folder; those inside it are not searched.
        exclusive: True if no other process can be writing there now. Otherwise only files of
            processes of this machine that are no longer alive are removed.
    """
    with suppress(OSError):
        for path in list(folder.iterdir()):
            name = _TEMPORARY.fullmatch(path.name)
            if name and (
                exclusive or (name["host"] == _HOST and not is_running(int(name["process"])))
            ):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def check_writable(folder: Path, setting: str) -> None:
    """Check before any work that files can be written into a folder, without creating it.

    Temporary files of killed processes in it are removed.

    Raises:
        UserError: they cannot; ``setting`` chose the folder, as ``output=here``.
    """
    with report_write_errors(setting):
        folder = folder.expanduser()
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(existing))
        try:
            with tempfile.TemporaryFile(dir=existing):
                pass
        except OSError as error:  # without the name of that file
            raise OSError(error.errno, error.strerror, str(existing)) from None
        remove_leftovers(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file; what in a file's name is no UTF-8 is escaped."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write JSON; nan and infinity, which it does not have, become null."""
    write_text(path, json.dumps(_finite_or_none(value), indent=2) + "\n")


def _finite_or_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite_or_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def aside_path(path: Path, marker: str = SET_ASIDE_MARKER) -> Path:
    """Return an unused path for a folder that is moved aside: its name, a marker and the time.

    A clock that is set back, as at the end of summer time, shows the same time again.
    """
    dated = path.with_name(f"{path.name}{marker}{time.strftime('%Y%m%d-%H%M%S')}")
    numbered = (dated.with_name(f"{dated.name}-{number}") for number in count(2))
    return next(free for free in chain([dated], numbered) if not os.path.lexists(free))


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content, which is read once while the file does not change."""
    file = path.resolve()
    status = file.stat()
    return _file_hash(file, status.st_ino, status.st_size, status.st_mtime_ns)


@cache
def _file_hash(path: Path, *state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
