"""What was found in a folder, kept while its folders and lists are the same.

The last scan stays in memory. That of a large folder is also written to a file of the user's cache,
``~/.cache/deeplab/folders``, from which the next start takes it: to walk through a million images
and to pair their masks takes a minute.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deeplab.data.items import Items, ItemTable, make_table
from deeplab.data.layouts.file_names import CLASSES_FILE, list_names
from deeplab.data.layouts.split_lists import LIST_SUFFIXES
from deeplab.data.layouts.splits import Split, Splits
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.parallel import is_first_process
from deeplab.utils.paths import cache_folder
from deeplab.utils.reading import read_npz
from deeplab.utils.text_array import Texts

MIN_FILES = 20_000
"""Number of files from which on a folder has an index on the disk."""

ARRAYS = {
    "facts": ("u", ("facts",)),
    "path_data": ("u", ("path_data",)),
    "path_ends": ("i", ("paths",)),
    "id_data": ("u", ("id_data",)),
    "id_ends": ("i", ("items",)),
    "files": ("i", ("items", 2)),
    "rows": ("i", ("rows",)),
}
"""Kinds and shapes of the arrays of an index."""


class State(NamedTuple):
    """State of a folder, or of a file that may be a list."""

    path: str
    changed: int
    """Time of the last change, in nanoseconds; -1: it is missing."""
    size: int
    names: str
    """Hash of the names in a folder; empty for a file."""

    def is_current(self) -> bool:
        """Return True if the file is unchanged, or the folder has the same names."""
        if _stat(self.path) == (self.changed, self.size):
            return True
        try:
            return bool(self.names) and _hash_names(list_names(self.path)) == self.names
        except OSError:
            return False


@dataclass(frozen=True)
class FolderScan:
    """What is found in a folder."""

    paths: Sequence[str]
    """Paths of all files below the root, sorted."""
    others: Sequence[str]
    """Those that are no images or masks by their names."""
    has_pairs: bool
    """True if images with masks are found."""
    splits: Splits
    notes: list[str]
    """Lines about the pairs: what was guessed and left out."""
    error: UserError | None = None
    """Why there are no pairs or no splits."""


class _Kept(NamedTuple):
    """A scan and what it depends on."""

    root: Path
    """The folder as it was named, with which the items' paths begin."""
    key: dict[str, Any]
    states: list[State]
    scan: FolderScan


_kept: list[_Kept] = []
"""The last scan, if the folder was left alone before it."""


def folder_states(root: Path, paths: Iterable[str], folders: Iterable[str]) -> list[State]:
    """Return the states of the folders and lists of a folder.

    Args:
        root: the absolute path of the folder.
        paths: its files, below it.
        folders: all folders in it, as ``list_files`` gives them.
    """
    names: dict[str, list[str]] = {folder: [] for folder in folders}
    lists: list[str] = []
    for folder in names:
        above, _, name = folder.rstrip("/").rpartition("/")
        if (inside := f"{above}/") in names:
            names[inside].append(f"{name}/")
    for path in paths:
        above, _, name = path.rpartition("/")
        names[f"{root}/{above}/" if above else f"{root}/"].append(name)
        if name.lower().endswith(LIST_SUFFIXES):
            lists.append(f"{root}/{path}")
    return [
        *(State(folder, *_stat(folder), _hash_names(inside)) for folder, inside in names.items()),
        *(State(path, *_stat(path), "") for path in lists),
    ]


def find_kept(root: Path, keys: Mapping[str, Any]) -> FolderScan | None:
    """Return the kept scan of a folder; None if there is none, or the folder has changed.

    Args:
        root: the folder.
        keys: the settings that the scan depends on.
    """
    key = _key(root, keys)
    kept = next((k for k in _kept if (k.root, k.key) == (root, key)), None) or _read(root, key)
    if kept is None or not all(state.is_current() for state in kept.states):
        return None
    _kept[:] = [kept]
    return kept.scan


def keep(root: Path, keys: Mapping[str, Any], states: list[State], scan: FolderScan) -> FolderScan:
    """Keep a scan for ``find_kept`` and return it, in arrays if the folder is large."""
    kept = _Kept(root, _key(root, keys), states, scan)
    if len(scan.paths) >= MIN_FILES and scan.has_pairs and not scan.error:
        kept = _in_arrays(kept)
        _write(kept)
    _kept[:] = [kept]
    return kept.scan


def _key(root: Path, keys: Mapping[str, Any]) -> dict[str, Any]:
    return {"root": str(root.absolute()), "code": _code(), **keys}


@cache
def _code() -> str:
    """Return a hash of the code that decides what is a pair and a split."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _hash_names(names: Iterable[str]) -> str:
    listed = "/".join(sorted(name for name in names if name != CLASSES_FILE))
    return hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()


def _stat(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)  # noqa: PTH116  a Path for each file is slower
    except OSError:
        return -1, -1
    return stat.st_mtime_ns, stat.st_size


def _in_arrays(kept: _Kept) -> _Kept:
    by_name, paths = kept.scan.splits.by_name, kept.scan.paths
    table, parts = make_table(kept.root, paths, [split.items for split in by_name.values()])
    splits = {
        name: split._replace(items=items)
        for (name, split), items in zip(by_name.items(), parts, strict=True)
    }
    paths = Texts(table.paths.data, table.paths.ends[: len(paths)])
    scan = replace(kept.scan, paths=paths, splits=kept.scan.splits._replace(by_name=splits))
    return kept._replace(scan=scan)


def _path(root: Path) -> Path:
    """Return the file of a folder's index."""
    name = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:16]
    return cache_folder() / "folders" / f"{name}.npz"


def _write(kept: _Kept) -> None:
    """Write the index of a scan in arrays, unless the cache cannot be written."""
    scan, path = kept.scan, _path(kept.root)
    splits = scan.splits.by_name
    parts = [split.items for split in splits.values() if isinstance(split.items, Items)]
    table = parts[0].table
    facts = {
        "key": kept.key,
        "states": kept.states,
        "num_paths": len(scan.paths),
        "splits": {name: [len(s.items), s.origin, s.error] for name, s in splits.items()},
        "split_notes": scan.splits.notes,
        "notes": scan.notes,
        "others": scan.others,
    }
    arrays: dict[str, Any] = {
        "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8),
        "path_data": table.paths.data,
        "path_ends": table.paths.ends,
        "id_data": table.ids.data,
        "id_ends": table.ids.ends,
        "files": table.files,
        "rows": np.concatenate([part.rows for part in parts]),
    }
    with suppress(OSError, UserError):  # a full disk, or a home that is read only
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
        if is_first_process():
            print(
                f"Index: the {len(table.ids):,} pairs of {kept.root} are kept in {path}, where the "
                "next start finds them while the folder has the same files"
            )


def _read(root: Path, key: dict[str, Any]) -> _Kept | None:
    """Return what the index of a folder has for these settings; None if there is nothing."""
    path = _path(root)
    try:
        arrays = read_npz(path, ARRAYS, "Delete it.")
        facts = json.loads(arrays["facts"].tobytes())
        if facts["key"] != key:
            return None
        paths, ids = (Texts(arrays[f"{n}_data"], arrays[f"{n}_ends"]) for n in ("path", "id"))
        table = ItemTable(root, paths, ids, arrays["files"])
        rows = np.split(arrays["rows"], np.cumsum([n for n, *_ in facts["splits"].values()])[:-1])
        splits = {
            name: Split(Items(table, part), origin, error)
            for part, (name, (_, origin, error)) in zip(rows, facts["splits"].items(), strict=True)
        }
        scan = FolderScan(
            Texts(paths.data, paths.ends[: facts["num_paths"]]),
            facts["others"],
            has_pairs=True,
            splits=Splits(splits, facts["split_notes"]),
            notes=facts["notes"],
        )
        return _Kept(root, key, [State(*state) for state in facts["states"]], scan)
    except (OSError, UserError, ValueError, LookupError, TypeError):  # there is none, or damaged
        return None
