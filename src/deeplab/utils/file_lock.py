"""File locks between processes, also of several machines that share a folder.

A lock file is locked by ``flock`` and names its owner; its modification time is the owner's
heartbeat. ``flock`` covers all processes of this machine and releases the locks of those that have
died, but across a network it may have no effect, and some file systems do not support it. There the
owner decides: an owner on another machine holds the lock until its heartbeat expires, an owner on
this machine while its process is alive.

The libraries that were tried fail a need. filelock (4.2.11, 4.3.1): ``FileLock`` lets two machines
in where ``flock`` has no effect between them; ``SoftFileLock`` and ``SoftFileLease`` never release
the lock of a killed process on NFS and SMB, which cannot exchange two names, and
``StrictSoftFileLock`` does so nowhere; a lease and ``SoftReadWriteLock`` release that of a machine
that went down only to a process that watches it until it expires, which a run that must not wait
never does. flufl.lock (10.0): two processes may take over an expired lock (it happened in 1 of 12
races).
"""

import errno
import fcntl
import json
import os
import platform
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from deeplab.utils.errors import UserError
from deeplab.utils.interrupts import is_running
from deeplab.utils.text import printable

HEARTBEAT_INTERVAL = 30.0
"""Seconds between two heartbeats."""

MAX_MISSED_HEARTBEATS = 10
"""Missed heartbeats after which the lock of an owner on another machine expires."""

OWNER_PLACEHOLDER = "{owner}"
"""Part of a message that is replaced by the owner of the lock."""

UNKNOWN_OWNER = "another process"
"""Name for the owner if the lock file names none."""

_held_locks: dict[str, int] = {}
"""Tokens and file descriptors of the locks that this process holds."""


class LockedError(UserError):
    """Another process holds the lock; a later attempt may succeed."""


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock."""

    host: str
    process: int
    since: str
    """ISO 8601."""
    token: str
    """Random; different each time that a lock is acquired."""

    @classmethod
    def current(cls) -> "Owner":
        """Return this process as an owner from now on."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(platform.node(), os.getpid(), now, secrets.token_hex(8))

    @classmethod
    def read(cls, file: int) -> "Owner | None":
        """Return the owner that a lock file names, or None."""
        try:
            line = os.pread(file, 1000, 0).partition(b"\n")[0]
            owner = cls(**json.loads(line))
            datetime.fromisoformat(owner.since)
            return owner if isinstance(owner.process, int) else None
        except (OSError, ValueError, TypeError, RecursionError):
            return None

    def write(self, file: int) -> None:
        """Write the owner into a lock file.

        The line overwrites the old one in a single call, so that no reader finds an empty file.
        """
        line = json.dumps(asdict(self)).encode() + b"\n"
        os.pwrite(file, line, 0)
        os.ftruncate(file, len(line))
        os.fsync(file)  # other machines must see it now

    @property
    def is_alive(self) -> bool:
        """True if the owner's process, which is one of this machine, is alive."""
        if self.process == os.getpid():
            return self.token in _held_locks
        return is_running(self.process)

    def __str__(self) -> str:
        since = datetime.fromisoformat(self.since).astimezone()
        today = since.date() == datetime.now().astimezone().date()
        return (
            f"process {self.process} on host {printable(self.host)} since "
            f"{since:{'%H:%M' if today else '%Y-%m-%d %H:%M'}}"
        )


@contextmanager
def locked(path: Path, message: str, *, wait: bool) -> Iterator[None]:
    """Hold a lock file, which is deleted at the end.

    The lock of a killed process is free at once; that of a machine that went down, after some
    minutes.

    Args:
        path: the lock file, in a folder that exists.
        message: text of the error, or of the line that is printed when waiting;
            ``OWNER_PLACEHOLDER`` in it is replaced by the owner.
        wait: True to wait until the lock is free.

    Raises:
        LockedError: another process holds the lock and ``wait`` is false.
        UserError: the path is no regular file.
    """
    printed = False
    while isinstance(acquired := _try_acquire(path), str):
        error = LockedError(message.replace(OWNER_PLACEHOLDER, acquired))
        if not wait:
            raise error
        if not printed:
            print(error, flush=True)
        printed = True
        time.sleep(0.25)
    file, owner = acquired
    stop = Event()
    heartbeat = Thread(target=_send_heartbeats, args=(file, stop), daemon=True)
    heartbeat.start()
    try:
        yield
    finally:
        if os.getpid() == owner.process:  # not in a fork of it
            stop.set()
            heartbeat.join()
            _release(path, file, owner)


def is_locked(path: Path) -> bool:
    """Return True if this or another process holds a lock file now.

    The owner is not disturbed and the file is not changed.
    """
    if not path.exists():
        return False
    try:
        # the guard keeps a process that starts now from finding the file locked by this check
        with _guard(path) as now:
            return _has_owner(path, now)
    except FileNotFoundError:  # deleted in the meantime
        return False
    except OSError:  # the folder is not writable
        return _has_owner(path, time.time())


def _has_owner(path: Path, now: float) -> bool:
    file = _open(path, os.O_RDONLY)
    try:
        return _find_owner(file, fcntl.LOCK_SH, now) is not None
    finally:
        os.close(file)


def _open(path: Path, flags: int) -> int:
    """Open a lock file; a link would lead elsewhere, and a pipe would block."""
    try:
        file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        if stat.S_ISREG(os.fstat(file).st_mode):
            return file
        os.close(file)
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.ELOOP, errno.ENXIO):
            raise
    raise UserError(f"{path}: not a regular file, as a lock must be. Remove it.")


def _try_acquire(path: Path) -> tuple[int, Owner] | str:
    """Return the locked file and this process as its owner, or the name of the current owner."""
    with _guard(path) as now:
        while True:
            file = _open(path, os.O_RDWR | os.O_CREAT)
            if os.fstat(file).st_nlink > 1:  # what is written to it would be written elsewhere too
                path.unlink(missing_ok=True)
                os.close(file)
                continue
            try:
                other = _find_owner(file, fcntl.LOCK_EX, now)
                if not other and _is_same_file(file, path):
                    owner = Owner.current()
                    owner.write(file)
                    _held_locks[owner.token] = file
                    return file, owner
            except BaseException:
                os.close(file)
                raise
            os.close(file)
            if other:
                return other  # otherwise its owner has deleted the file in the meantime


def _release(path: Path, file: int, owner: Owner) -> None:
    """Close the lock file and delete it first.

    It is not deleted if another machine considered this process dead and holds the lock now.
    """
    if _is_same_file(file, path) and Owner.read(file) == owner:
        path.unlink(missing_ok=True)
    del _held_locks[owner.token]
    os.close(file)


def _find_owner(file: int, kind: int, now: float) -> str | None:
    """Return the current owner of an open lock file, or lock the file and return None.

    Args:
        file: its descriptor.
        kind: ``LOCK_EX`` or ``LOCK_SH``, the lock that is taken if the file has no owner.
        now: the time by the clock of its file system.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        has_flock = True
    except BlockingIOError:
        return str(Owner.read(file) or UNKNOWN_OWNER)
    except OSError:  # a file system without flock
        has_flock = False
    owner = Owner.read(file)
    if owner is None:
        return None
    if owner.host == platform.node():
        alive = not has_flock and owner.is_alive
    else:
        alive = now - os.fstat(file).st_mtime < HEARTBEAT_INTERVAL * MAX_MISSED_HEARTBEATS
    return str(owner) if alive else None


@contextmanager
def _guard(path: Path) -> Iterator[float]:
    """Exclude all other processes, on every machine, from checking or acquiring the lock.

    The guard is held for milliseconds; the guard file of a killed process is removed after a while.

    Yields:
        The time by the clock of the file system, in seconds.
    """
    guard = path.with_name(f".{path.name.lstrip('.')}.taking")
    file = _create(guard)
    try:
        os.utime(file)
        yield os.fstat(file).st_mtime
    finally:
        if _is_same_file(file, guard):
            guard.unlink(missing_ok=True)
        os.close(file)


def _create(guard: Path) -> int:
    seen, since = (0, 0), 0.0
    while True:
        try:
            return os.open(guard, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            with suppress(FileNotFoundError):
                status = guard.stat()
                if seen != (identity := (status.st_ino, status.st_mtime_ns)):
                    seen, since = identity, time.monotonic()
                elif time.monotonic() - since > HEARTBEAT_INTERVAL:
                    guard.unlink()
        time.sleep(0.01)


def _send_heartbeats(file: int, stop: Event) -> None:
    while not stop.wait(HEARTBEAT_INTERVAL):
        with suppress(OSError):  # the network is down; the next heartbeat may succeed
            os.utime(file)


def _is_same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _close_inherited_locks() -> None:
    """Close the lock files in a fork, where an open file keeps its lock.

    Data loading processes may outlive the process that holds the lock.
    """
    for file in _held_locks.values():
        os.close(file)
    _held_locks.clear()


os.register_at_fork(after_in_child=_close_inherited_locks)
