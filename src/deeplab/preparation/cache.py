"""Building the decoded cache of a split."""

import hashlib
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np

from deeplab.data.cache import BYTES, DecodedCache, plan
from deeplab.data.dataset import SegmentationDataset
from deeplab.data.labels import Pixels
from deeplab.data.layout import Item
from deeplab.data.problems import BadFileError
from deeplab.data.reading import image_size
from deeplab.errors import UserError
from deeplab.lock import locked
from deeplab.preparation.parallel import each

SPARE = 1e9
"""Bytes that a cache leaves free."""


def use_cache(
    dataset: SegmentationDataset, place: str | Path, *, workers: int, progress: bool = True
) -> None:
    """Let a data set read from a cache below ``place``, which is built if it is not there.

    It lies in a folder named by what it depends on. Where the disk has no room it is left out, with
    a word about it.

    Raises:
        UserError: nothing can be written there.
    """
    place = Path(place).expanduser()
    key = hashlib.sha256(f"{dataset.fingerprint()} {dataset.classes}".encode()).hexdigest()[:12]
    folder = place / key
    try:
        place.mkdir(parents=True, exist_ok=True)
        busy = f"data.cache={place}: another process is building the same; waiting for it."
        with locked(place / f".{key}.lock", busy, wait=True):
            if not folder.is_dir() and not _build(dataset, folder, workers, progress):
                return
    except OSError as error:
        raise UserError(f"data.cache={place}: this cannot be written ({error.strerror}).") from None
    dataset.reader = DecodedCache(folder, dataset.items, dataset.read)


def _build(dataset: SegmentationDataset, folder: Path, workers: int, progress: bool) -> bool:
    """Decode everything into a draft of the folder; False if there is no room."""
    index = plan([_size(item) for item in dataset.items])
    total = int((index[:, 1] * index[:, 2]).sum()) * BYTES
    free = shutil.disk_usage(folder.parent).free
    if total + SPARE > free:
        print(
            f"data.cache={folder.parent}: the {dataset.split} images take {total / 1e9:.1f} GB "
            f"decoded and {free / 1e9:.1f} GB are free, so they are decoded each time."
        )
        return False
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    pixels = draft / "pixels.bin"
    with pixels.open("wb") as file:
        file.truncate(total)
    store = partial(_store, dataset=dataset, path=pixels)
    jobs = list(zip(dataset.items, index.tolist(), strict=True))
    desc = f"Decoding {dataset.split} into {folder.parent}"
    stored = list(each(store, jobs, workers=workers, desc=desc, progress=progress))
    index[~np.array(stored, bool), 1:] = 0
    np.save(draft / "index.npy", index)
    os.rename(draft, folder)
    return True


def _size(item: Item) -> tuple[int, int]:
    try:
        return image_size(item.image)
    except BadFileError:
        return (0, 0)


def _store(
    job: tuple[Item, tuple[int, int, int]], dataset: SegmentationDataset, path: Path
) -> bool:
    """Write one item at its place; False if it cannot be decoded."""
    item, (offset, height, width) = job
    try:
        image, label = dataset.read(item)
    except BadFileError:
        return False
    if label.shape != (height, width):
        return False
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(_bytes(image))
        file.write(_bytes(label))
    return True


def _bytes(pixels: Pixels) -> bytes:
    return np.ascontiguousarray(pixels).tobytes()
