"""Decoded images and labels in one file that is mapped into memory.

    pixels.bin    image after image: its RGB pixels, then its labels
    index.npy     a row for each item: offset, height and width; height 0 if it could not be decoded

All loading processes share the pages that the system keeps in memory.
"""

import hashlib
import os
import shutil
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import Pixels
from deeplab.data.dataset import Reader, SegmentationDataset
from deeplab.data.image_io import image_size
from deeplab.data.layouts.base import Item
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import locked
from deeplab.utils.parallel import parallel_map

Index = NDArray[np.int64]
BYTES = 4
"""For each pixel: three of the image and one of the label."""


class DecodedCache:
    """Reads items from a cache; those that are not in it as before, which raises what is wrong.

    Args:
        folder: where the two files are.
        items: in the order of the index.
        otherwise: how an item is read that is not in the cache.
    """

    def __init__(self, folder: Path, items: list[Item], otherwise: Reader) -> None:
        self.folder, self.otherwise = folder, otherwise
        self.rows = {item: row for row, item in enumerate(items)}
        self.index: Index = np.load(folder / "index.npy")

    @cached_property
    def pixels(self) -> Pixels:
        """The mapped file, opened by each process for itself."""
        return np.memmap(self.folder / "pixels.bin", np.uint8, mode="r")

    def __call__(self, item: Item) -> tuple[Pixels, Pixels]:
        """Image ``(H, W, 3)`` and label ``(H, W)``, read-only."""
        offset, height, width = (int(n) for n in self.index[self.rows[item]])
        if not height:
            return self.otherwise(item)
        middle, end = offset + 3 * height * width, offset + BYTES * height * width
        image = self.pixels[offset:middle].reshape(height, width, 3)
        return image, self.pixels[middle:end].reshape(height, width)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "pixels"}


def plan(sizes: list[tuple[int, int]]) -> Index:
    """The index of images of these heights and widths, one behind the other."""
    index = np.zeros((len(sizes), 3), np.int64)
    index[:, 1:] = sizes
    index[1:, 0] = np.cumsum(index[:-1, 1] * index[:-1, 2] * BYTES)
    return index


SPARE = 1e9
"""Bytes that a cache leaves free."""


def use_cache(
    dataset: SegmentationDataset, place: str | Path, *, num_workers: int, progress: bool = True
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
        busy = f"data.cache_dir={place}: another process is building the same; waiting for it."
        with locked(place / f".{key}.lock", busy, wait=True):
            if not folder.is_dir() and not _build(dataset, folder, num_workers, progress):
                return
    except OSError as error:
        raise UserError(
            f"data.cache_dir={place}: this cannot be written ({error.strerror})."
        ) from None
    dataset.reader = DecodedCache(folder, dataset.items, dataset.read)


def _build(dataset: SegmentationDataset, folder: Path, num_workers: int, progress: bool) -> bool:
    """Decode everything into a draft of the folder; False if there is no room."""
    index = plan([_size(item) for item in dataset.items])
    total = int((index[:, 1] * index[:, 2]).sum()) * BYTES
    free = shutil.disk_usage(folder.parent).free
    if total + SPARE > free:
        print(
            f"data.cache_dir={folder.parent}: the {dataset.split} images take {total / 1e9:.1f} GB "
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
    stored = list(parallel_map(store, jobs, num_workers=num_workers, desc=desc, progress=progress))
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
