"""Layouts, which find the images and masks of each split.

A layout lists its splits and the items of each.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from deeplab.utils.errors import UserError

PREPARING = ".preparing"
"""Name of the marker file in the root of a data set whose preparation is not finished."""


class Item(NamedTuple):
    """An image and its mask."""

    id: str
    image: Path
    mask: Path


class Layout(Protocol):
    """Interface between a data set and its folder."""

    root: Path

    def splits(self) -> list[str]:
        """Return the names of the available splits."""
        ...

    def items(self, split: str) -> list[Item]:
        """Return the items of a split, always in the same order.

        Raises:
            UserError: there is no such split, or it is empty.
        """
        ...


def split_items(layout: Layout, split: str) -> list[Item]:
    """Return the items of a split, or of several joined by ``+``."""
    return [item for name in split.split("+") for item in layout.items(name)]


def fingerprint(items: Sequence[Item]) -> str:
    """Return a hash of the ids, their order, and the sizes of their files."""
    lines = [f"{i.id} {_bytes(i.image)} {_bytes(i.mask)}" for i in items]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _bytes(path: Path) -> int:
    """Return a file's size, or -1 if it is missing, which is reported when it is read."""
    return path.stat().st_size if path.is_file() else -1


def check_complete(root: Path) -> None:
    """Raise UserError if ``prepare.py`` has started on a folder and has not finished."""
    if any((folder / PREPARING).exists() for folder in (root, *root.absolute().parents[:2])):
        raise UserError(
            f"data.root={root}: this data set is incomplete: its preparation is in progress or was "
            "interrupted. Wait for it to finish, or run the same python src/prepare.py command "
            "again, which resumes it."
        )


def read_list(path: Path, split: str, splits: list[str]) -> list[str]:
    """Return the first word of each line of a split list.

    Raises:
        UserError: there is no such list, it cannot be read, or it is empty.
    """
    if not path.is_file():
        raise UserError(
            f"split {split!r}: {path} does not exist. Available splits: {', '.join(splits)}."
        )
    return [line.split()[0] for line in read_lines(path, split)]


def read_lines(path: Path, split: str) -> list[str]:
    """Return the lines of a split list that are not empty.

    Raises:
        UserError: the list cannot be read, or it is empty.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"split {split!r}: {path} cannot be read ({error}). Check the file and its permissions."
        ) from None
    if not lines:
        raise UserError(f"split {split!r}: {path} lists no images. Add their ids, one per line.")
    return lines
