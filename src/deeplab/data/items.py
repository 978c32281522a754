"""Images with their masks: one, and those of a large data set in arrays.

A list of a million items takes a gigabyte in each process that touches it, an array a tenth.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from deeplab.data.annotations.base import Annotation


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


class Texts(Sequence[str]):
    """Texts such as paths, one after another in an array.

    Args:
        data: all of them in UTF-8; what in a file's name is none is kept.
        ends: where each ends in ``data``.
    """

    def __init__(self, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self.data, self.ends = data, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Return the texts in this form."""
        encoded = [text.encode(errors="surrogateescape") for text in texts]
        data = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(data, np.cumsum([len(text) for text in encoded], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        start = self.ends[index - 1] if index else 0
        return self.data[start : self.ends[index]].tobytes().decode(errors="surrogateescape")

    def __iter__(self) -> Iterator[str]:
        data, start = self.data.tobytes(), 0
        for end in self.ends.tolist():
            yield data[start:end].decode(errors="surrogateescape")
            start = end


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
    return items.ids() if isinstance(items, Items) else (item.id for item in items)


def join_items(parts: Sequence[Sequence[Item]]) -> Sequence[Item]:
    """Return the items of all parts, in arrays if those of the parts are."""
    if len(parts) == 1:
        return parts[0]
    tables = {id(part.table): part for part in parts if isinstance(part, Items)}
    if len(tables) == 1 and all(isinstance(part, Items) for part in parts):
        (first,) = tables.values()
        return Items(first.table, np.concatenate([p.rows for p in parts if isinstance(p, Items)]))
    return [item for part in parts for item in part]
