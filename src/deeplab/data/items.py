"""Images with their masks: one, and those of a large data set in arrays.

A list of a million items takes a gigabyte in each process that touches it, an array a tenth.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from deeplab.utils.sampling import sample_evenly
from deeplab.utils.text_array import Texts

if TYPE_CHECKING:
    from deeplab.data.annotations.base import Annotation

MAX_CHECKED_FILES = 100_000
"""Number of items whose files are asked for their sizes or identities: that takes a second locally,
and ten times as long on a server."""


class Item(NamedTuple):
    """An image and its mask, or the annotation from which its label map is drawn."""

    id: str
    image: Path
    mask: Path
    """File of the mask, or of the annotation."""
    annotation: "Annotation | None" = None

    @property
    def mask_file(self) -> Path | None:
        """File of the mask; None if the label map is drawn."""
        return self.mask if self.annotation is None else None


class ItemTable(NamedTuple):
    """The items of all splits of a folder."""

    root: Path
    paths: Texts
    """Paths of files, below the root or absolute."""
    ids: Texts
    """Id of each item."""
    files: NDArray[np.int32]
    """(items, 2): places of each item's image and mask in ``paths``."""


class Items(Sequence[Item]):
    """Some items of a table, made when they are asked for.

    Args:
        table: the table.
        rows: the item's places in it.
    """

    def __init__(self, table: ItemTable, rows: NDArray[np.int32]) -> None:
        self.table, self.rows = table, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> "Items": ...
    def __getitem__(self, index: int | slice) -> "Item | Items":
        if isinstance(index, slice):
            return Items(self.table, self.rows[index])
        root, paths, ids, files = self.table
        row = int(self.rows[index])
        image, mask = files[row].tolist()
        return Item(ids[row], Path(root, paths[image]), Path(root, paths[mask]))

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(len(self)))

    def ids(self) -> Iterator[str]:
        """Yield the id of each item."""
        return (self.table.ids[row] for row in self.rows.tolist())

    def with_images_of(self, others: "Items") -> "Items":
        """Return the items whose image is also that of another item of the same table."""
        images = self.table.files[:, 0]
        return Items(self.table, self.rows[np.isin(images[self.rows], images[others.rows])])


def make_table(
    root: Path, paths: Sequence[str], parts: Sequence[Sequence[Item]]
) -> tuple[ItemTable, list[Items]]:
    """Return a table of the items of all parts, and each part as items of the table.

    Args:
        root: the folder.
        paths: its files, below it.
        parts: items without annotations.
    """
    start = f"{root}/"
    places = {path: place for place, path in enumerate(paths)}
    rows: dict[Item, int] = {}
    found = [[rows.setdefault(item, len(rows)) for item in part] for part in parts]
    files = np.array(
        [
            [places.setdefault(str(path).removeprefix(start), len(places)) for path in item[1:3]]
            for item in rows
        ],
        np.int32,
    ).reshape(-1, 2)
    table = ItemTable(root, Texts.of(places), Texts.of(item.id for item in rows), files)
    return table, [Items(table, np.array(part, np.int32)) for part in found]


def item_ids(items: Sequence[Any]) -> Iterator[str]:
    """Yield the id of each item; the paths of those in arrays are not made."""
    return items.ids() if hasattr(items, "ids") else (item.id for item in items)


def join_items(parts: Sequence[Sequence[Item]]) -> Sequence[Item]:
    """Return the items of all parts, in arrays if those of the parts are."""
    if len(parts) == 1:
        return parts[0]
    tables = {id(part.table): part for part in parts if isinstance(part, Items)}
    if len(tables) == 1 and all(isinstance(part, Items) for part in parts):
        (first,) = tables.values()
        return Items(first.table, np.concatenate([p.rows for p in parts if isinstance(p, Items)]))
    return [item for part in parts for item in part]


def shared_images(first: Sequence[Item], second: Sequence[Item]) -> Sequence[Item]:
    """Return the items of ``first`` whose image file is also that of an item of ``second``.

    Links to the same file are found too, but not among more than ``MAX_CHECKED_FILES`` items.
    """
    if len(first) + len(second) <= MAX_CHECKED_FILES:
        files = {_file_identity(item.image) for item in second}
        return [item for item in first if _file_identity(item.image) in files]
    if isinstance(first, Items) and isinstance(second, Items) and first.table is second.table:
        return first.with_images_of(second)
    paths = {item.image for item in second}
    return [item for item in first if item.image in paths]


def _file_identity(path: Path) -> tuple[int, int] | Path:
    """Return what two names of one file have in common."""
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return path
    return stat.st_dev, stat.st_ino


def fingerprint(items: Sequence[Item]) -> str:
    """Return a hash of the ids, their order, and the sizes of their files.

    Of more than ``MAX_CHECKED_FILES`` items, the files of as many are looked at.
    """
    sample = sample_evenly(items, MAX_CHECKED_FILES)
    lines: Iterable[str] = (f"{i.id} {file_bytes(i.image)} {file_bytes(i.mask)}" for i in sample)
    if len(sample) < len(items):
        lines = chain(item_ids(items), lines)
    digest = hashlib.sha256()
    for number, line in enumerate(lines):
        digest.update(f"\n{line}".encode() if number else line.encode())
    return digest.hexdigest()[:16]


def file_bytes(path: Path) -> int:
    """Return a file's size, or -1 if it is missing, which is reported when it is read."""
    try:
        stat = os.stat(path)  # noqa: PTH116  faster
    except (OSError, ValueError):
        return -1
    return stat.st_size if S_ISREG(stat.st_mode) else -1
