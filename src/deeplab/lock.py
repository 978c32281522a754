"""One process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from deeplab.errors import UserError


@contextmanager
def locked(path: Path, busy: str, *, wait: bool) -> Iterator[None]:
    """Hold a lock file, which is deleted at the end; one of a killed process holds nobody up.

    Args:
        path: the lock file, in a folder that exists.
        busy: what is said if another process holds it.
        wait: whether to wait for its end then.

    Raises:
        UserError: another process holds it and ``wait`` is false.
    """
    with _hold(path, busy, wait):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # before it is closed: those who wait see that it is gone


def _hold(path: Path, busy: str, wait: bool) -> IO[str]:
    while True:
        file = path.open("a")
        try:
            _lock(file, busy, wait)
        except BaseException:
            file.close()
            raise
        if _is_at(file, path):
            return file
        file.close()  # the one who held it has deleted it


def _lock(file: IO[str], busy: str, wait: bool) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise UserError(busy) from None
        print(busy)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        pass


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def held(path: Path) -> bool:
    """Whether another process holds a lock file now."""
    try:
        with path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or a file system without locks
        return False
    return False
