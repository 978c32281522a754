"""Files, pairs and splits of a folder, which are found once and kept while the folder is the same.

The checks of a training, its automatic keys and its data each ask for them, and so does every row
of a sweep.
"""

import time
from pathlib import Path

from deeplab.data.layouts.base import MASK_SUFFIXES
from deeplab.data.layouts.file_names import list_files
from deeplab.data.layouts.folder_index import FolderScan, find_kept, folder_states, keep
from deeplab.data.layouts.folder_settings import FolderSettings
from deeplab.data.layouts.pairing import Pairing, find_pairs, is_outside
from deeplab.data.layouts.splits import Splits, decide_splits
from deeplab.utils.errors import UserError

KEYS = (
    "image_dir", "mask_dir", "image_suffix", "mask_suffix", "train_split", "val_split",
    "val_fraction", "split_seed",
)  # fmt: skip
"""Keys that pairs and splits depend on."""

SETTLED = 1.0
"""Seconds since the last change of a folder after which its time tells further changes."""


def scan_folder(root: Path, settings: FolderSettings) -> FolderScan:
    """Return the files of a folder, and the splits of the pairs of images and masks among them.

    Raises:
        UserError: a folder cannot be read.
    """
    keys = {name: getattr(settings, name) for name in KEYS}
    absolute = root.absolute()
    if kept := find_kept(root, keys):
        return kept
    started = time.time()
    folders: list[str] = []
    paths = list_files(absolute, folders)
    states = folder_states(absolute, paths, folders)
    pairing, splits, error = Pairing([], []), Splits({}, []), None
    try:
        pairing = find_pairs(root, paths, settings)
    except UserError as problem:  # lists may name images with their masks
        error = problem
    try:
        splits = decide_splits(root, paths, pairing.pairs, settings)
        if any(split.items for split in splits.by_name.values()):
            error = None
    except UserError as problem:
        error = problem
    other_files = [path for path in paths if not path.lower().endswith(MASK_SUFFIXES)]
    scan = FolderScan(paths, other_files, bool(pairing.pairs), splits, pairing.notes, error)
    # of a folder outside, no state is kept
    elsewhere = any(f and is_outside(root, f) for f in (settings.image_dir, settings.mask_dir))
    settled = all(state.changed / 1e9 < started - SETTLED for state in states)
    return keep(root, keys, states, scan) if settled and not elsewhere else scan
