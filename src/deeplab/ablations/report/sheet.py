"""A table as it is read, whatever it is written as."""

from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """What stands in a cell."""

    text: str
    link: Path | None = None
    faint: bool = False
    """Not to be taken for a result."""


class Picture(NamedTuple):
    """Beside the report."""

    name: str
    says: str


class Sheet(NamedTuple):
    """One table."""

    name: str
    """Of its files."""
    title: str
    setting: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...]
    pictures: tuple[Picture, ...]


def without_empty_columns(
    header: list[str], rows: list[list[Entry]]
) -> tuple[tuple[str, ...], tuple[tuple[Entry, ...], ...]]:
    """Header and rows without columns that no row fills."""
    kept = [i for i in range(len(header)) if any(row[i].text for row in rows)]
    return (
        tuple(header[i] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in rows),
    )
