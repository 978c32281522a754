"""Files, pairs and splits of a folder, which are found once and kept while the folder is the same.

The checks of a training, its automatic keys and its data each ask for them, and so does every row
of a sweep.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab.data.layouts.base import MASK_SUFFIXES
from deeplab.data.layouts.file_names import list_files
from deeplab.data.layouts.pairing import Pairing, find_pairs
from deeplab.data.layouts.splits import Splits, decide_splits
from deeplab.utils.errors import UserError

if TYPE_CHECKING:
    from deeplab.data.layouts.folder import FolderSettings

KEYS = (
    "image_dir", "mask_dir", "image_suffix", "mask_suffix", "train_split", "val_split",
    "val_fraction", "split_seed",
)  # fmt: skip
"""Keys that pairs and splits depend on."""

SETTLED = 1.0
"""Seconds since the last change of a folder after which its time tells further changes."""

State = tuple[tuple[str, int, int], ...]
"""Folders, and files that may be lists, with their times and sizes."""


@dataclass(frozen=True)
class FolderScan:
    """What is found in a folder."""

    root: Path
    settings: "FolderSettings"
    paths: Sequence[str]
    """Paths of all files below the root, sorted."""
    pairing: Pairing
    error: UserError | None
    """Why no pairs were found."""

    @cached_property
    def splits(self) -> Splits:
        """Splits of the pairs."""
        return decide_splits(self.root, self.paths, self.pairing.pairs, self.settings)


@dataclass(frozen=True)
class _Kept:
    key: tuple[object, ...]
    state: State
    scan: FolderScan


_kept: list[_Kept] = []
"""The last scan, if the folder was left alone before it."""


def scan_folder(root: Path, settings: "FolderSettings") -> FolderScan:
    """Return the files of a folder, and the pairs of images and masks among them.

    Raises:
        UserError: a folder or a list cannot be read.
    """
    key = (root.absolute(), *(getattr(settings, name) for name in KEYS))
    for kept in _kept:
        if kept.key == key and _state(path for path, *_ in kept.state) == kept.state:
            return kept.scan
    started = time.time()
    folders: list[str] = []
    paths = list_files(root, folders)
    lists = [f"{root}/{path}" for path in paths if not path.lower().endswith(MASK_SUFFIXES)]
    state = _state([*folders, *lists])
    pairing, error = Pairing([], []), None
    try:
        pairing = find_pairs(root, paths, settings)
    except UserError as problem:  # lists may name images with their masks
        error = problem
    scan = FolderScan(root, settings, paths, pairing, error)
    others = settings.image_dir is not None or settings.mask_dir is not None  # may be elsewhere
    settled = all(changed / 1e9 < started - SETTLED for _, changed, _ in state)
    _kept[:] = [_Kept(key, state, scan)] if settled and not others else []
    return scan


def _state(paths: Iterable[str]) -> State:
    return tuple(_states(paths))


def _states(paths: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        try:
            stat = os.stat(path)  # noqa: PTH116  a Path for each file is slower
            yield path, stat.st_mtime_ns, stat.st_size
        except OSError:
            yield path, -1, -1
