"""Files that are there whole or not at all."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LONG = 200
"""Bytes of a file's name, to which a draft's adds some; file systems take 255."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A draft beside ``path`` to write to; it takes the name ``path`` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name
    if len(name.encode()) > LONG:
        name = hashlib.sha256(name.encode()).hexdigest() + path.suffix
    draft = path.with_name(f".{name}.{os.getpid()}")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with atomic_write(path) as draft:
        draft.write_text(text)


def write_json(path: Path, value: Any) -> None:
    """Write JSON; nan becomes null."""
    write_text(path, json.dumps(_finite(value), indent=2) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
