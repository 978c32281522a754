"""Paths: relative ones that come from files, addresses, the folder of caches."""

import os
import re
from pathlib import Path

ROOT_OR_DRIVE = re.compile(r"^(?:[A-Za-z]:)?/+")
"""Beginning of an absolute path, of any operating system."""
URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
"""Beginning of an address, such as ``s3://``."""
MAX_NAME_BYTES = 255
"""Longest name of a file that file systems allow."""


def relative_path(text: str) -> str:
    """Return a path that stays below the folder that it is joined to.

    Raises:
        ValueError: it does not, or it can be no path; the message is a phrase after the text.
    """
    if is_absolute(text):
        raise ValueError("is an absolute path")
    if "\0" in text:
        raise ValueError("has a NUL character in it")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError("has '..' in it")
    if not parts:
        raise ValueError("names no file")
    if any(len(part.encode(errors="replace")) > MAX_NAME_BYTES for part in parts):
        raise ValueError(f"has more than {MAX_NAME_BYTES} bytes, which no file name can have")
    return "/".join(parts)


def is_absolute(text: str) -> bool:
    """Return True for a path that begins at a root or a drive."""
    return ROOT_OR_DRIVE.match(text) is not None


def is_url(text: str) -> bool:
    """Return True for an address, such as ``s3://bucket/folder``."""
    return URL.match(text) is not None


def is_reachable(path: str | Path) -> bool:
    """Return True if a path leads to a file or folder; False also for a name that none can have."""
    return os.path.exists(path)  # noqa: PTH110  Path.exists raises OSError for a long name


def absolute_path(text: str) -> str:
    """Return a path from the root of the file system on; addresses are returned as they are."""
    return text if is_url(text) else str(Path(text).expanduser().absolute())


def short_path(path: Path) -> Path:
    """Return a path as it is typed in the current folder: relative if it lies below."""
    folder = Path.cwd()
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def cache_folder(program: str = "deeplab") -> Path:
    """Return a program's folder for what can be made again: ``~/.cache/PROGRAM``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / program
