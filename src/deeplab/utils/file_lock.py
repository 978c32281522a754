"""One process at a time, also of several machines that share a folder.

A lock file is locked by ``flock`` and names its owner; its modification time is the owner's
heartbeat. ``flock`` knows all processes of this machine and lets go of those that have died, but
across a network it may know nothing, and some file systems do not have it. There the owner counts:
one on another machine while its heart beats, one on this machine while its process lives.
"""

import fcntl
import json
import os
import platform
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from deeplab.utils.errors import UserError

BEAT = 30.0
"""Seconds between two heartbeats."""

MISSED = 10
"""Heartbeats after which an owner on another machine is taken for dead."""

OWNER = "{owner}"
"""In a message: who holds the lock."""

UNKNOWN = "another process"
"""Who holds a lock file that names nobody."""

_held: dict[str, int] = {}
"""Tokens and file descriptors of the locks that this process holds."""


class LockedError(UserError):  # noqa: N818 - a state of affairs
    """Another process holds the lock: no mistake, and it may be different later."""


@dataclass(frozen=True)
class Owner:
    """Who holds a lock."""

    host: str
    process: int
    since: str
    """ISO 8601."""
    token: str
    """Of this one time that it is held."""

    @classmethod
    def here(cls) -> "Owner":
        """This process, from now on."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(platform.node(), os.getpid(), now, secrets.token_hex(8))

    @classmethod
    def read(cls, file: int) -> "Owner | None":
        """The one that a lock file names."""
        try:
            line = os.pread(file, 1000, 0).partition(b"\n")[0]
            return cls(**json.loads(line))
        except (ValueError, TypeError):
            return None

    def write(self, file: int) -> None:
        """Name it in a lock file. The line is written over the old one at once, so that nobody
        finds an empty file."""
        line = json.dumps(asdict(self)).encode() + b"\n"
        os.pwrite(file, line, 0)
        os.ftruncate(file, len(line))
        os.fsync(file)  # other machines are to see it now

    @property
    def lives(self) -> bool:
        """Whether its process, which is one of this machine, is there."""
        if self.process == os.getpid():
            return self.token in _held
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # another user's
            pass
        return True

    def __str__(self) -> str:
        since = datetime.fromisoformat(self.since).astimezone()
        today = since.date() == datetime.now().astimezone().date()
        return (
            f"process {self.process} on host {self.host} since "
            f"{since:{'%H:%M' if today else '%Y-%m-%d %H:%M'}}"
        )


@contextmanager
def locked(path: Path, busy: str, *, wait: bool) -> Iterator[None]:
    """Hold a lock file, which is deleted at the end; one of a killed process holds nobody up, one
    of another machine that has died for some minutes.

    Args:
        path: the lock file, in a folder that exists.
        busy: what is said if another process holds it, which takes the place of ``OWNER`` in it.
        wait: whether to wait for its end then.

    Raises:
        LockedError: another process holds it and ``wait`` is false.
    """
    file, owner = _wait_for(path, busy) if wait else _ask_for(path, busy)
    stop = Event()
    beating = Thread(target=_beat, args=(file, stop), daemon=True)
    beating.start()
    try:
        yield
    finally:
        if os.getpid() == owner.process:  # not in a fork of it
            stop.set()
            beating.join()
            _release(path, file, owner)


def held(path: Path) -> bool:
    """Whether another process, or this one, holds a lock file now; whoever does is not disturbed,
    and the file is left as it is."""
    if not path.exists():
        return False
    try:
        with _guard(path) as now:  # so that one who starts now does not find it locked by this look
            return _looked_at(path, now)
    except FileNotFoundError:  # it was deleted prefetch
        return False
    except OSError:  # nothing can be written there
        return _looked_at(path, time.time())


def _looked_at(path: Path, now: float) -> bool:
    file = os.open(path, os.O_RDONLY)
    try:
        return _holder(file, fcntl.LOCK_SH, now) is not None
    finally:
        os.close(file)


def _ask_for(path: Path, busy: str) -> tuple[int, Owner]:
    taken = _take(path)
    if isinstance(taken, str):
        raise LockedError(busy.replace(OWNER, taken))
    return taken


def _wait_for(path: Path, busy: str) -> tuple[int, Owner]:
    said = False
    while True:
        try:
            return _ask_for(path, busy)
        except LockedError as error:
            if not said:
                print(error, flush=True)
            said = True
            time.sleep(0.25)


def _take(path: Path) -> tuple[int, Owner] | str:
    """The lock file, opened and locked, and this process as its owner; or who else has it."""
    with _guard(path) as now:
        while True:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                holder = _holder(file, fcntl.LOCK_EX, now)
                if not holder and _is_at(file, path):
                    owner = Owner.here()
                    owner.write(file)
                    _held[owner.token] = file
                    return file, owner
            except BaseException:
                os.close(file)
                raise
            os.close(file)
            if holder:
                return holder  # else the one who held it has deleted it prefetch


def _release(path: Path, file: int, owner: Owner) -> None:
    """Delete the lock file before it is closed, unless another machine took this process for dead
    and has it now."""
    if _is_at(file, path) and Owner.read(file) == owner:
        path.unlink(missing_ok=True)
    del _held[owner.token]
    os.close(file)


def _holder(file: int, kind: int, now: float) -> str | None:
    """Who holds an open lock file; if nobody does, it is now locked as ``kind`` says.

    Args:
        file: its descriptor.
        kind: ``LOCK_EX`` or ``LOCK_SH``.
        now: the time by the clock of its file system.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        locks = True
    except BlockingIOError:
        return str(Owner.read(file) or UNKNOWN)
    except OSError:  # a file system without them
        locks = False
    owner = Owner.read(file)
    if owner is None:
        return None
    if owner.host == platform.node():
        alive = not locks and owner.lives
    else:
        alive = now - os.fstat(file).st_mtime < BEAT * MISSED
    return str(owner) if alive else None


@contextmanager
def _guard(path: Path) -> Iterator[float]:
    """Within it nobody else looks whether a lock is free and takes it, on whatever machine. It
    lasts for milliseconds; what a killed process left is removed after a while.

    Yields:
        The time by the clock of the file system, seconds.
    """
    guard = path.with_name(f".{path.name.lstrip('.')}.taking")
    file = _create(guard)
    try:
        os.utime(file)
        yield os.fstat(file).st_mtime
    finally:
        if _is_at(file, guard):
            guard.unlink(missing_ok=True)
        os.close(file)


def _create(guard: Path) -> int:
    seen: tuple[int, int] | None = None
    since = time.monotonic()
    while True:
        try:
            return os.open(guard, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            pass
        now = _identity(guard)
        if now != seen:
            seen, since = now, time.monotonic()
        elif now and time.monotonic() - since > BEAT:
            guard.unlink(missing_ok=True)
        time.sleep(0.01)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _beat(file: int, stop: Event) -> None:
    while not stop.wait(BEAT):
        try:
            os.utime(file)
        except OSError:  # the network is away; the next may come through
            continue


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _forget() -> None:
    """In a fork: an open file keeps its lock, and loading processes may outlive who holds it."""
    for file in _held.values():
        os.close(file)
    _held.clear()


os.register_at_fork(after_in_child=_forget)
