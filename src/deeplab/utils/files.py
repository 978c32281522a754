"""Atomic writes: a file exists completely or not at all.

The package for this, ``atomicwrites``, is no longer maintained.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

UMASK = os.umask(0o077)
os.umask(UMASK)  # the only way to read it; now, before there are threads

MAX_NAME_BYTES = 200
"""Longest file name that is kept; temporary names add some bytes and file systems allow 255."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it is renamed to ``path`` if the block succeeds.

    A file gets the mode of the umask: safetensors, for one, writes for the owner only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name
    if len(name.encode()) > MAX_NAME_BYTES:
        name = hashlib.sha256(name.encode()).hexdigest() + path.suffix
    temporary = path.with_name(f".{name}.{os.getpid()}")
    try:
        yield temporary
        if temporary.is_file():
            with suppress(PermissionError):  # a file system without modes
                temporary.chmod(0o666 & ~UMASK)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with atomic_write(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, value: Any) -> None:
    """Write JSON; nan becomes null."""
    write_text(path, json.dumps(_nan_to_none(value), indent=2) + "\n")


def _nan_to_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nan_to_none(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
