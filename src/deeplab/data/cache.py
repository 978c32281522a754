"""Cache of decoded images and labels: one memory-mapped file for each split.

    pixels.bin    image after image: its RGB pixels, then its labels
    index.npy     one row for each item: offset, height and width; height 0 if decoding failed

All DataLoader workers share the pages that the operating system keeps in memory; ``diskcache`` and
``zarr`` would copy each sample.
"""

import hashlib
import shutil
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import Pixels
from deeplab.data.dataset import Reader, SegmentationDataset
from deeplab.data.image_io import read_header
from deeplab.data.layouts.base import Item
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import locked
from deeplab.utils.parallel import parallel_map

Index = NDArray[np.int64]
BYTES_PER_PIXEL = 4
"""Three bytes for the image and one for the label."""


class DecodedCache:
    """Reader of cached items.

    Items that could not be decoded are read by ``fallback``, which raises their error.

    Args:
        folder: the folder that holds the two files.
        items: in the order of the index.
        fallback: reads an item that is not in the cache.
    """

    def __init__(self, folder: Path, items: Sequence[Item], fallback: Reader) -> None:
        self.folder, self.fallback = folder, fallback
        self.rows = {item: row for row, item in enumerate(items)}
        self.index: Index = np.load(folder / "index.npy")

    @cached_property
    def pixels(self) -> Pixels:
        """The memory-mapped file, which each process opens for itself."""
        return np.memmap(self.folder / "pixels.bin", np.uint8, mode="r")

    def __call__(self, item: Item) -> tuple[Pixels, Pixels]:
        """Return the image ``(H, W, 3)`` and the label ``(H, W)``, both read-only."""
        offset, height, width = (int(n) for n in self.index[self.rows[item]])
        if not height:
            return self.fallback(item)
        middle, end = offset + 3 * height * width, offset + BYTES_PER_PIXEL * height * width
        image = self.pixels[offset:middle].reshape(height, width, 3)
        return image, self.pixels[middle:end].reshape(height, width)

    def __getstate__(self) -> dict[str, object]:
        """Return the state without the memory map, which a worker process opens itself."""
        return {name: value for name, value in vars(self).items() if name != "pixels"}


def build_index(sizes: list[tuple[int, int]]) -> Index:
    """Return the index of images of these heights and widths, stored one after another."""
    index = np.zeros((len(sizes), 3), np.int64)
    index[:, 1:] = sizes
    index[1:, 0] = np.cumsum(index[:-1, 1] * index[:-1, 2] * BYTES_PER_PIXEL)
    return index


RESERVED_BYTES = 1e9
"""Disk space in bytes that a cache leaves free."""


def use_cache(
    dataset: SegmentationDataset, cache_dir: str | Path, *, num_workers: int, progress: bool = True
) -> None:
    """Make a data set read from a cache below ``cache_dir``; build the cache if it is missing.

    Each cache has its own folder, named by a hash of the data that it depends on. If the disk has
    no room for it, a message is printed and the data set keeps decoding its files.

    Raises:
        UserError: ``cache_dir`` cannot be written.
    """
    cache_dir = Path(cache_dir).expanduser()
    key = hashlib.sha256(f"{dataset.fingerprint()} {dataset.classes}".encode()).hexdigest()[:12]
    folder = cache_dir / key
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        busy = (
            f"data.cache_dir={cache_dir}: another process is building this cache; waiting for it."
        )
        with locked(cache_dir / f".{key}.lock", busy, wait=True):
            if not folder.is_dir() and not _build(dataset, folder, num_workers, progress):
                return
    except OSError as error:
        raise UserError(
            f"data.cache_dir={cache_dir}: cannot write to this folder ({error.strerror}). Set "
            "data.cache_dir to a writable folder."
        ) from None
    dataset.reader = DecodedCache(folder, dataset.items, dataset.read)


def _build(dataset: SegmentationDataset, folder: Path, num_workers: int, progress: bool) -> bool:
    """Decode all items into a draft and rename it; return False if the disk has no room."""
    index = build_index([_size(item) for item in dataset.items])
    total = int((index[:, 1] * index[:, 2]).sum()) * BYTES_PER_PIXEL
    free = shutil.disk_usage(folder.parent).free
    if total + RESERVED_BYTES > free:
        print(
            f"data.cache_dir={folder.parent}: the decoded {dataset.split} images need "
            f"{total / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Training decodes the files "
            "each time instead."
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
    draft.rename(folder)
    return True


def _size(item: Item) -> tuple[int, int]:
    try:
        return read_header(item.image).size
    except BadFileError:
        return (0, 0)


def _store(
    job: tuple[Item, tuple[int, int, int]], dataset: SegmentationDataset, path: Path
) -> bool:
    """Write one item at its offset; return False if it cannot be decoded."""
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
