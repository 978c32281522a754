"""Index of the images in shards: where each begins, and its labels.

Engines that stream shards mix a buffer of neighbors, in an order that depends on the number of
workers. With the index any image can be read at any time, so a run draws the same images as from
separate files, whatever its workers, and resumes at any step. It costs one pass over the shards,
and about 50 bytes an image in the user's cache, ``~/.cache/deeplab/shards``. The arrays are mapped
into memory, so that they take none of a process and may be larger than it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.data.layouts.shards.samples import Shard, ShardRows, scan_shard
from deeplab.data.packed_file import PackedFile
from deeplab.utils.cores import cpu_count
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import OWNER_PLACEHOLDER, locked
from deeplab.utils.files import atomic_write
from deeplab.utils.parallel import is_first_process, parallel_map
from deeplab.utils.paths import cache_folder
from deeplab.utils.reading import describe
from deeplab.utils.text import pluralize
from deeplab.utils.text_array import Texts

COLUMNS: dict[str, np.dtype[Any]] = {
    "offsets": np.dtype(np.int64),
    "sizes": np.dtype(np.int32),
    "names": np.dtype(np.uint8),
    "name_ends": np.dtype(np.int64),
    "labels": np.dtype(np.int32),
    "label_ends": np.dtype(np.int64),
}
"""Arrays of an index, each a file: where an image's content begins in its shard, its length, its
name, and its labels as indices of words."""

ENTRIES = "shards.jsonl"
"""File with a line for each shard whose images are in the arrays."""

BYTES_PER_PROCESS = 1 << 30
"""Size of the shards for which one more process is worth its start."""


class Entry(NamedTuple):
    """What an index has of a shard."""

    name: str
    size: int
    version: str
    num_images: int
    num_labels: int
    num_name_bytes: int
    new_words: list[str]
    """Labels that no shard before it has."""


class Totals(NamedTuple):
    """What an index has of some shards together."""

    images: int = 0
    labels: int = 0
    name_bytes: int = 0

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Totals":
        """Return the sums over entries."""
        total = cls()
        for entry in entries:
            total = total.add(entry)
        return total

    def add(self, entry: Entry) -> "Totals":
        """Return the sums with a further entry."""
        return Totals(*(a + b for a, b in zip(self, entry[3:6], strict=True)))

    def lengths(self) -> dict[str, int]:
        """Return the length of each array."""
        return {
            **dict.fromkeys(COLUMNS, self.images),
            "names": self.name_bytes,
            "labels": self.labels,
        }


class ShardIndex:
    """Where the images of some shards begin, and their labels.

    Args:
        folder: where the arrays are.
        shards: the shards.
        entries: one for each of them.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard], entries: Sequence[Entry]) -> None:
        self.folder, self.shards, self.entries = folder, shards, entries
        self.words = [word for entry in entries for word in entry.new_words]
        self.ends = np.cumsum([entry.num_images for entry in entries], dtype=np.int64)
        lengths = Totals.of(entries).lengths()
        arrays = {name: _map_array(folder / name, lengths[name]) for name in COLUMNS}
        self.offsets, self.sizes = arrays["offsets"], arrays["sizes"]
        self.names = Texts(arrays["names"], arrays["name_ends"])
        self.labels, self.label_ends = arrays["labels"], arrays["label_ends"]

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling: another process maps the arrays itself."""
        return _map_again, (self.folder, self.shards, self.entries)

    def __len__(self) -> int:
        return len(self.offsets)

    def image_id(self, image: int) -> str:
        """Return the path of an image's shard and its name in it."""
        return f"{self._shard(image).name}/{self.names[image]}"

    def file(self, image: int) -> PackedFile:
        """Return the file of an image."""
        offset, size = int(self.offsets[image]), int(self.sizes[image])
        return PackedFile(self._shard(image).address, self.names[image], offset, size)

    def words_of(self, image: int) -> NDArray[np.int32]:
        """Return the labels of an image, as indices of ``words``."""
        start = self.label_ends[image - 1] if image else 0
        return np.asarray(self.labels[start : self.label_ends[image]])

    def find_several_labels(self) -> int | None:
        """Return the first image with more than one label; None if there is none."""
        if len(self.labels) == len(self):
            return None
        return int(np.argmax(np.diff(self.label_ends, prepend=0) > 1))

    def find_word(self, word: int) -> int:
        """Return the first image with a label."""
        place = int(np.argmax(self.labels == word))
        return int(np.searchsorted(self.label_ends, place, side="right"))

    def _shard(self, image: int) -> Shard:
        return self.shards[int(np.searchsorted(self.ends, image, side="right"))]


def get_or_make_index(
    shards: Sequence[Shard], label_extension: str, key: Sequence[str]
) -> ShardIndex:
    """Return the index of some shards, after reading those that are new or have changed.

    Shards are read from the first one on that is new or has changed; an interrupted pass goes on
    after the last shard that it has finished.

    Args:
        shards: the shards, in the order of their images.
        label_extension: end of the names of members with labels, after the first dot.
        key: what the index is kept for: where the shards are, and their split.

    Raises:
        UserError: a shard cannot be read or is damaged, a sample is incomplete, or the cache cannot
            be written.
    """
    name = hashlib.sha256(json.dumps([*key, label_extension]).encode()).hexdigest()[:16]
    folder = cache_folder() / "shards" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        message = f"{folder}: {OWNER_PLACEHOLDER} is reading the shards; waiting until it is done"
        with locked(folder / ".lock", message, wait=True):
            entries = _read_entries(folder, shards)
            if remaining := shards[len(entries) :]:
                size = sum(shard.size for shard in remaining)
                scans = parallel_map(
                    partial(scan_shard, label_extension=label_extension),
                    remaining,
                    num_workers=min(cpu_count(), size // BYTES_PER_PROCESS),
                    desc="Reading shards",
                    progress=is_first_process(),
                )
                entries += _append(folder, entries, zip(remaining, scans, strict=True))
                if is_first_process():
                    print(
                        f"Index: the {Totals.of(entries).images:,} images of "
                        f"{pluralize(len(shards), 'shard')} are kept in {folder}, where the next "
                        "start finds them while the shards are the same"
                    )
            return ShardIndex(folder, shards, entries)
    except OSError as error:
        raise UserError(
            f"{folder}: the index of the shards cannot be kept here ({describe(error)}). Make "
            "room, or set XDG_CACHE_HOME to another folder."
        ) from None


def _map_again(folder: Path, shards: Sequence[Shard], entries: Sequence[Entry]) -> ShardIndex:
    """Return an index in another process.

    Raises:
        UserError: the files are of other shards since.
    """
    if _read_lines(folder, shards)[1] != [*entries] or not _has_arrays(folder, entries):
        raise UserError(
            f"{folder}: another program has found other shards since this one started. Start this "
            "one again."
        )
    return ShardIndex(folder, shards, entries)


def _map_array(path: Path, length: int) -> NDArray[Any]:
    dtype = COLUMNS[path.name]
    return np.memmap(path, dtype, "r", shape=(length,)) if length else np.empty(0, dtype)


def _read_entries(folder: Path, shards: Sequence[Shard]) -> list[Entry]:
    """Return the entries of the first shards, as far as these are as they were.

    What the files have beyond them is removed. Other processes that have mapped it keep it.
    """
    lines, entries = _read_lines(folder, shards)
    if len(entries) == len(shards) and _has_arrays(folder, entries):
        return entries
    if not _has_arrays(folder, entries):
        entries = []
    for name, length in Totals.of(entries).lengths().items():
        _shorten(folder / name, length * COLUMNS[name].itemsize)
    _shorten(folder / ENTRIES, sum(len(line.encode()) for line in lines[: len(entries)]))
    return entries


def _read_lines(folder: Path, shards: Sequence[Shard]) -> tuple[list[str], list[Entry]]:
    """Return the lines of an index, and the entries of those of the first shards, if unchanged."""
    lines, entries = list[str](), list[Entry]()
    with suppress(OSError, ValueError, TypeError):  # there is none, or a line is damaged
        lines = (folder / ENTRIES).read_text().splitlines(keepends=True)
        for shard, line in zip(shards, lines, strict=False):
            entry = Entry(*json.loads(line))
            if entry[:3] != shard[:3]:
                break
            entries.append(entry)
    return lines, entries


def _has_arrays(folder: Path, entries: Sequence[Entry]) -> bool:
    """Return True if the files of an index are long enough for its entries."""
    lengths = Totals.of(entries).lengths()
    with suppress(OSError):
        return all(
            (folder / name).stat().st_size >= length * COLUMNS[name].itemsize
            for name, length in lengths.items()
        )
    return False


def _shorten(path: Path, length: int) -> None:
    """Replace a file by its first bytes, which leaves it to those who have mapped it."""
    if path.exists() and path.stat().st_size > length:
        with atomic_write(path) as temporary, path.open("rb") as old, temporary.open("wb") as new:
            remaining = length
            while remaining and (data := old.read(min(remaining, 1 << 24))):
                new.write(data)
                remaining -= len(data)


def _append(
    folder: Path, entries: Sequence[Entry], scans: Iterable[tuple[Shard, ShardRows]]
) -> list[Entry]:
    """Write the images of further shards and return their entries."""
    words = {word: number for number, word in enumerate(w for e in entries for w in e.new_words)}
    totals, added = Totals.of(entries), list[Entry]()
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("ab")) for name in COLUMNS}
        lines = stack.enter_context((folder / ENTRIES).open("a"))
        for shard, rows in scans:
            names, new_words = Texts.of(rows.names), list[str]()
            for word in (word for labels in rows.labels for word in labels):
                if word not in words:
                    words[word] = len(words)
                    new_words.append(word)
            label_ends = np.cumsum([len(labels) for labels in rows.labels], dtype=np.int64)
            columns: dict[str, Any] = {
                "offsets": rows.offsets,
                "sizes": rows.sizes,
                "names": names.data,
                "name_ends": totals.name_bytes + names.ends,
                "labels": [words[word] for labels in rows.labels for word in labels],
                "label_ends": totals.labels + label_ends,
            }
            for name, file in files.items():
                file.write(np.asarray(columns[name], COLUMNS[name]).tobytes())
                file.flush()
            counts = len(rows.names), len(columns["labels"]), len(names.data)
            entry = Entry(shard.name, shard.size, shard.version, *counts, new_words)
            lines.write(json.dumps(entry) + "\n")  # after the arrays: from now on it counts
            lines.flush()
            added.append(entry)
            totals = totals.add(entry)
    return added
