"""Cache of decoded images and labels: one memory-mapped file for each split.

    pixels.bin    image after image: its pixels, then its labels
    index.npy     one row for each item: offset, height, width and checksum; height 0 if decoding
                  failed

All DataLoader workers share the pages that the operating system keeps in memory; ``diskcache`` and
``zarr`` would copy each sample.
"""

import hashlib
import re
import shutil
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeplab.data import (
    annotations,
    array_files,
    class_set,
    image_header,
    image_io,
    labels,
    orientation,
    pixel_values,
)
from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import Pixels
from deeplab.data.dataset import Reader, SegmentationDataset
from deeplab.data.image_io import read_header
from deeplab.data.items import Item
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import locked
from deeplab.utils.parallel import parallel_map
from deeplab.utils.text import format_size
from deeplab.utils.write_errors import FULL_ERRNOS, write_error

Index = NDArray[np.int64]


class DecodedCache:
    """Reader of cached items.

    Items that could not be decoded, or whose checksum is wrong, are read by ``fallback``. The
    checksum is verified when a process reads an item for the first time.

    Args:
        folder: the folder that holds the two files.
        items: in the order of the index.
        channels: number of channels of the images.
        fallback: reads an item that is not in the cache.

    Raises:
        ValueError: the cache is damaged.
    """

    def __init__(
        self, folder: Path, items: Sequence[Item], channels: int, fallback: Reader
    ) -> None:
        self.folder, self.items = folder, items
        self.channels, self.fallback = channels, fallback
        self.index = _read_index(folder, len(items), channels)
        self.verified: set[int] = set()
        self.damaged = False

    @cached_property
    def pixels(self) -> Pixels:
        """The memory-mapped file, which each process opens for itself."""
        return np.memmap(self.folder / "pixels.bin", np.uint8, mode="r")

    def __call__(self, row: int) -> tuple[Pixels, Pixels]:
        """Return the image ``(H, W, C)`` and the label ``(H, W)``, both read-only."""
        offset, height, width, checksum = (int(n) for n in self.index[row])
        if not height or not self._is_open():
            return self.fallback(row)
        middle = offset + self.channels * height * width
        end = middle + height * width
        if row not in self.verified:
            pixels = self.pixels[offset:end]
            if _checksum(self.items[row], (height, width), pixels) != checksum:
                self._report_damage()
                return self.fallback(row)
            self.verified.add(row)
        image = self.pixels[offset:middle].reshape(height, width, self.channels)
        return image, self.pixels[middle:end].reshape(height, width)

    def _is_open(self) -> bool:
        """Return False if the files were removed, by a process that has read edited images."""
        with suppress(OSError):
            return self.pixels.ndim == 1
        return False

    def _report_damage(self) -> None:
        if not self.damaged:
            print(
                f"{self.folder}: this cache is damaged; its damaged items are decoded from their "
                "files. Remove the folder to build it again."
            )
        self.damaged = True

    def __getstate__(self) -> dict[str, object]:
        """Return the state without the memory map, which a worker process opens itself."""
        return {name: value for name, value in vars(self).items() if name != "pixels"}


def _read_index(folder: Path, count: int, channels: int) -> Index:
    """Return the index of a cache.

    Raises:
        ValueError: it does not have one row for each item, or does not fit the pixels.
    """
    try:
        index: Index = np.load(folder / "index.npy")
        size = (folder / "pixels.bin").stat().st_size
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(error) from None
    if index.dtype != np.int64 or index.shape != (count, 4):
        raise ValueError(f"index of {index.dtype} {index.shape}")
    offset, height, width, _ = index.T
    if (index < 0).any() or (height > size).any() or (width > size).any():
        raise ValueError("index out of range")
    if count and int((offset + height * width * (channels + 1)).max()) > size:
        raise ValueError("index beyond the end")
    return index


def _checksum(item: Item, size: tuple[int, int], pixels: Pixels) -> int:
    """Return a checksum of an item's pixels, its id and its size."""
    return zlib.crc32(pixels.data, zlib.crc32(f"{item.id} {size}".encode()))


def build_index(sizes: list[tuple[int, int]], channels: int) -> Index:
    """Return the index of images of these heights and widths, without checksums."""
    index = np.zeros((len(sizes), 4), np.int64)
    index[:, 1:3] = np.reshape(sizes, (-1, 2))
    index[1:, 0] = np.cumsum(index[:-1, 1] * index[:-1, 2] * (channels + 1))
    return index


DECODERS = (
    annotations, array_files, class_set, image_header, image_io, labels, orientation, pixel_values,
)  # fmt: skip
"""Modules and packages on which the decoded pixels depend."""

RESERVED_BYTES = 1e9
"""Disk space in bytes that a cache leaves free."""


def use_cache(
    dataset: SegmentationDataset, cache_dir: str | Path, *, num_workers: int, progress: bool = True
) -> None:
    """Make a data set read from a cache below ``cache_dir``; build the cache if it is missing.

    Each cache has its own folder, named by a hash of the images and the classes and by one of the
    times and sizes of the files and of the code that decodes. A damaged cache is built again, and
    caches of the same images from before an edit, which nothing can use again, are removed. If the
    disk has no room for it, a message is printed and the data set keeps decoding its files.

    Raises:
        UserError: ``cache_dir`` cannot be written.
    """
    cache_dir = Path(cache_dir).expanduser()
    images, state = _hashes(dataset)
    folder, channels = cache_dir / f"{images}-{state}", dataset.pixel_format.channels
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        busy = (
            f"data.cache_dir={cache_dir}: another process is building this cache; waiting for it."
        )
        with locked(cache_dir / f".{images}.lock", busy, wait=True):
            _remove_outdated(folder, images)
            if folder.is_dir():
                try:
                    dataset.reader = DecodedCache(
                        folder, dataset.items, channels, dataset.read_index
                    )
                    return
                except ValueError as error:
                    print(f"data.cache_dir={cache_dir}: {folder} is damaged ({error}); rebuilding")
                    shutil.rmtree(folder)
            if not _build(dataset, folder, num_workers, progress):
                return
    except OSError as error:
        if error.errno in FULL_ERRNOS:
            raise write_error(error, cache_dir) from None
        raise UserError(
            f"data.cache_dir={cache_dir}: cannot write to this folder ({error.strerror}). Set "
            "data.cache_dir to a writable folder."
        ) from None
    dataset.reader = DecodedCache(folder, dataset.items, channels, dataset.read_index)


def _hashes(dataset: SegmentationDataset) -> tuple[str, str]:
    """Return a hash of the images and their classes, and one of their state and of the code."""
    images = hashlib.sha256(f"{dataset.classes} {dataset.pixel_format}".encode())
    state = hashlib.sha256()
    for module in DECODERS:
        file = Path(str(module.__file__))
        for path in sorted(file.parent.glob("*.py")) if file.name == "__init__.py" else [file]:
            state.update(path.read_bytes())
    for item in dataset.items:
        images.update(repr(tuple(map(str, item))).encode())
        state.update(f"{_stamp(item.image)} {_stamp(item.mask)}\n".encode())
    return images.hexdigest()[:12], state.hexdigest()[:12]


def _remove_outdated(folder: Path, images: str) -> None:
    """Remove other caches of the same images, and unfinished ones."""
    earlier = re.compile(rf"\.?{images}-[0-9a-f]{{12}}(\.draft)?")
    outdated = [
        path
        for path in folder.parent.iterdir()
        if path != folder and earlier.fullmatch(path.name) and path.is_dir()
    ]
    for path in outdated:
        shutil.rmtree(path, ignore_errors=True)
    if outdated:
        print(
            f"data.cache_dir={folder.parent}: removed {', '.join(path.name for path in outdated)}, "
            "made of files or by code that have changed since"
        )


def _stamp(path: Path) -> str:
    """Return the size and the time of the last change of a file; empty without the file."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _build(dataset: SegmentationDataset, folder: Path, num_workers: int, progress: bool) -> bool:
    """Decode all items into a draft and rename it; return False if the disk has no room."""
    channels = dataset.pixel_format.channels
    index = build_index([_size(item) for item in dataset.items], channels)
    total = int((index[:, 1] * index[:, 2]).sum()) * (channels + 1)
    free = shutil.disk_usage(folder.parent).free
    if total + RESERVED_BYTES > free:
        print(
            f"data.cache_dir={folder.parent}: the decoded {dataset.split} images need "
            f"{format_size(total)}, and {format_size(free)} are free. Training decodes the files "
            "each time instead."
        )
        return False
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    pixels = draft / "pixels.bin"
    store = partial(_store, dataset=dataset, path=pixels)
    jobs = [(item, tuple(row[:3])) for item, row in zip(dataset.items, index.tolist(), strict=True)]
    desc = f"Decoding {dataset.split} into {folder.parent}"
    try:
        with pixels.open("wb") as file:
            file.truncate(total)
        checksums = parallel_map(store, jobs, num_workers=num_workers, desc=desc, progress=progress)
        for row, checksum in zip(index, checksums, strict=True):
            row[1:] = (*row[1:3], checksum) if checksum is not None else 0
        np.save(draft / "index.npy", index)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return True


def _size(item: Item) -> tuple[int, int]:
    try:
        return read_header(item.image).size
    except BadFileError:
        return (0, 0)


def _store(
    job: tuple[Item, tuple[int, int, int]], dataset: SegmentationDataset, path: Path
) -> int | None:
    """Write one item at its offset; return its checksum, or None if it cannot be decoded."""
    item, (offset, height, width) = job
    try:
        image, label = dataset.read(item)
    except BadFileError:
        return None
    if label.shape != (height, width):
        return None
    pixels = np.concatenate([image.ravel(), label.ravel()])
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(pixels.data)
    return _checksum(item, (height, width), pixels)
