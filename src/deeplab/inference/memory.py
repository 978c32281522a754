"""Memory that predictions take, and the window that fits into what is free."""

import math
import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deeplab.inference.predictor import Predictor

USABLE = 0.7
"""Share of the free memory that a prediction may take: the rest is for libraries' scratch space,
the images that are read and written meanwhile, and other programs."""

MIN_WINDOW = 257
"""Side in pixels of the smallest windows that are chosen, and of the image with which the memory
of a pixel is measured."""

STEP = 16
"""Sides of windows are multiples of this and 1, like the sides that networks are trained at."""


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Measures the most bytes that tensors made in its block take at a time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and count the storages of its results until they are freed."""
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        self.peak = max(self.peak, self.bytes)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in self._known:
            self._known.add(address)
            self.bytes += size
            weakref.finalize(storage, self._free, address, size)

    def _free(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.bytes -= size


def bytes_per_pixel(predictor: Predictor, device: str) -> float:
    """Measure the bytes that a prediction takes for each pixel of the image."""
    shape = (1, predictor.model.in_channels, MIN_WINDOW, MIN_WINDOW)
    images = torch.zeros(shape, dtype=torch.uint8, device=device)
    with PeakMemory() as memory:
        predictor.label_maps(images, [(MIN_WINDOW, MIN_WINDOW)])
    return memory.peak / MIN_WINDOW**2


def largest_window(usable: float, pixel_bytes: float) -> int:
    """Return the side in pixels of the largest window that takes no more than the usable bytes."""
    side = math.isqrt(int(usable / pixel_bytes))
    return max(MIN_WINDOW, (side - 1) // STEP * STEP + 1)
