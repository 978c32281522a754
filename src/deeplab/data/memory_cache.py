"""Cache of decoded images and labels in memory that all loading processes share.

Each image is decoded when it is first drawn, and kept while there is room: nothing is written to a
disk, and nothing is done before the training.
"""

import math
import mmap
from contextlib import suppress
from multiprocessing import get_context, get_start_method

import numpy as np

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import Pixels
from deeplab.data.dataset import Reader, SegmentationDataset
from deeplab.utils.free_memory import free_memory
from deeplab.utils.sampling import sample_evenly
from deeplab.utils.text import format_size

MAX_SAMPLES = 100
"""Number of images whose sizes are looked at."""

MARGIN = 1.1
"""Room that is reserved, as a multiple of what the sample needs."""

MIN_PASSES = 2
"""Passes over the images from which on something is read again."""

MAKING = -1
"""Place of an image that a process is decoding."""


class MemoryCache:
    """Reader that keeps what it has read, for all processes that are forked from this one.

    Args:
        count: number of images.
        channels: number of channels of the images.
        capacity: bytes to keep at most.
        fallback: reads an image that is not kept.

    Raises:
        OSError: the system gives no such memory, or no lock.
    """

    def __init__(self, count: int, channels: int, capacity: int, fallback: Reader) -> None:
        self.channels, self.fallback = channels, fallback
        # not /dev/shm, which is small in a container; pages that are not written take no memory
        self.pixels: Pixels = np.frombuffer(mmap.mmap(-1, capacity), np.uint8)
        numbers = np.frombuffer(mmap.mmap(-1, 8 * (1 + 3 * count)), np.int64)
        self.used, self.index = numbers[:1], numbers[1:].reshape(-1, 3)
        """Bytes in use; place of each image in ``pixels`` plus 1 (0: not kept), height, width."""
        self.lock = get_context("fork").Lock()

    def __call__(self, row: int) -> tuple[Pixels, Pixels]:
        """Return the image ``(H, W, C)`` and the label ``(H, W)``; both read-only if kept."""
        with self.lock:
            place, height, width = self.index[row].tolist()
        if place > 0:
            return self._view(place - 1, height, width)
        image, label = self.fallback(row)
        if not place:
            self._keep(row, image, label)
        return image, label

    def _view(self, start: int, height: int, width: int) -> tuple[Pixels, Pixels]:
        pixels = self.pixels[start : start + (self.channels + 1) * height * width]
        pixels.flags.writeable = False
        middle = self.channels * height * width
        image = pixels[:middle].reshape(height, width, self.channels)
        return image, pixels[middle:].reshape(height, width)

    def _keep(self, row: int, image: Pixels, label: Pixels) -> None:
        with self.lock:
            start, size = int(self.used[0]), image.size + label.size
            if self.index[row, 0] or start + size > len(self.pixels):
                return
            self.used[0], self.index[row, 0] = start + size, MAKING
        self.pixels[start : start + image.size] = image.ravel()
        self.pixels[start + image.size : start + size] = label.ravel()
        with self.lock:
            self.index[row] = start + 1, *label.shape


def use_memory(
    dataset: SegmentationDataset, share: float, *, passes: float, num_workers: int, devices: int
) -> str | None:
    """Make a data set keep its decoded images in memory, if they fit into a share of what is free.

    Args:
        dataset: the training images.
        share: the share of the free memory.
        passes: how often each image is drawn; with fewer than ``MIN_PASSES`` nothing is kept.
        num_workers: number of loading processes of each device.
        devices: number of devices, whose processes keep the images each for itself.

    Returns:
        A line about it; None if nothing is kept.
    """
    free = free_memory("cpu")
    if not free or not share or passes < MIN_PASSES or (num_workers and not _workers_are_forked()):
        return None
    needed = _estimate(dataset)
    if needed * devices > share * free:
        return None
    try:
        dataset.reader = MemoryCache(
            len(dataset), dataset.pixel_format.channels, needed, dataset.read_index
        )
    except (OSError, ValueError):  # no memory of this kind, or no lock: images are decoded
        return None
    return (
        f"decoded training images stay in memory, {format_size(needed * devices)} of "
        f"{format_size(free)} that are free (data.memory_cache=0 turns this off)"
    )


def _workers_are_forked() -> bool:
    """Return True if loading processes share the memory of this one, which starts them."""
    return get_start_method() == "fork"


def _estimate(dataset: SegmentationDataset) -> int:
    """Return the bytes of all decoded images, from the sizes of some."""
    pixels = []
    for item in sample_evenly(dataset.items, MAX_SAMPLES):
        with suppress(BadFileError):  # reported when the item is read
            height, width = dataset.image_size(item)
            pixels.append(height * width)
    channels = dataset.pixel_format.channels
    return math.ceil(MARGIN * len(dataset) * (channels + 1) * float(np.mean(pixels or [0])))
