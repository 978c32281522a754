"""Prediction of single images with one inference strategy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from deeplab.data.transforms import EvalTransform
from deeplab.inference.memory import (
    MIN_WINDOW,
    USABLE,
    bytes_per_pixel,
    largest_window,
)
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Window
from deeplab.utils.constants import SUGGESTED_WINDOW
from deeplab.utils.free_memory import free_memory, is_out_of_memory
from deeplab.utils.hardware import Execution
from deeplab.utils.text import format_size

Pixels = NDArray[np.uint8]

T = TypeVar("T")

MANY_PIXELS = 1 << 21
"""Pixels of an image above which the memory that it takes is compared with what is free."""


class Segmenter:
    """Returns label maps and probabilities of images of any size.

    Args:
        predictor: the network with a single strategy.
        execution: accelerator and precision.
        padding: pads small images to the size at which the network is evaluated.
        num_classes: number of classes.
        auto_overlap: overlap of the windows of images that are too large for the free memory; None:
            no windows but those of the predictor.

    Attributes:
        window_key: name of the setting that saves memory, for messages.
        report: is called with a line about each image that is predicted in windows for want of
            memory.
    """

    window_key = "window_size"

    def __init__(
        self,
        predictor: Predictor,
        execution: Execution,
        padding: EvalTransform,
        num_classes: int,
        *,
        auto_overlap: float | None = None,
    ) -> None:
        self.predictor, self.execution = predictor, execution
        self.padding, self.num_classes = padding, num_classes
        self.auto_overlap = auto_overlap
        self.report: Callable[[str], None] = tqdm.write
        self._pixel_bytes: float | None = None

    def labels(self, image: Pixels) -> Pixels:
        """Return the most likely class of each pixel ``(H, W)`` of an RGB image ``(H, W, 3)``.

        Raises:
            MemoryError: the image is too large for the device.
        """

        def predict() -> Pixels:
            ((label,),) = self.predictor.label_maps(self._to_tensor(image), [_size(image)])
            return np.asarray(label.cpu().numpy(), np.uint8)

        return self._within_memory(image, predict)

    def probabilities(
        self, image: Pixels, dtype: type[np.floating[Any]] = np.float16
    ) -> tuple[Pixels, NDArray[np.floating[Any]]]:
        """Return the label map and the class probabilities of an RGB image ``(H, W, 3)``.

        Args:
            image: the image.
            dtype: type of the probabilities.

        Returns:
            The most likely class of each pixel ``(H, W)``, and the probabilities of all classes
            ``(K, H, W)``, which are computed in chunks of rows to save memory.

        Raises:
            MemoryError: the image is too large for the device.
        """

        def predict() -> tuple[Pixels, NDArray[np.floating[Any]]]:
            size = _size(image)
            label = np.empty(size, np.uint8)
            probabilities = np.empty((self.num_classes, *size), dtype)
            for top, (chunk,) in self.predictor.probabilities(self._to_tensor(image), size):
                rows = slice(top, top + chunk.shape[1])
                label[rows] = chunk.max(dim=0).indices.cpu().numpy()
                probabilities[:, rows] = chunk.cpu().numpy()
            return label, probabilities

        return self._within_memory(image, predict)

    def _within_memory(self, image: Pixels, predict: Callable[[], T]) -> T:
        """Return what ``predict`` returns for the image, in windows where memory is too small."""
        if self.auto_overlap is not None:
            self.predictor.batches_windows = False
            self.predictor.window = self._choose_window(image, self.auto_overlap)
        while True:
            try:
                with self._autocast(image):
                    return predict()
            except MemoryError:
                if self.auto_overlap is None:
                    raise
                window = self.predictor.window
                side = (window.size if window else max(_size(image))) // 2
                if side < MIN_WINDOW:
                    raise
            self.predictor.window = Window(side, self.auto_overlap)
            self._report_window(image, "memory does not suffice")

    def _choose_window(self, image: Pixels, overlap: float) -> Window | None:
        """Return the window that fits into the free memory if the whole image does not."""
        height, width = _size(image)
        device = self.execution.accelerator
        free = free_memory(device) if height * width > MANY_PIXELS else None
        if free is None:
            return None
        if self._pixel_bytes is None:
            self.predictor.window = None
            with self._autocast(image):
                self._pixel_bytes = bytes_per_pixel(self.predictor, device)
        needed = height * width * self._pixel_bytes
        if needed <= USABLE * free:
            return None
        window = Window(largest_window(USABLE * free, self._pixel_bytes), overlap)
        self.predictor.window = window
        problem = (
            f"whole it takes about {format_size(needed)} of memory, {format_size(free)} are free"
        )
        self._report_window(image, problem)
        return window

    def _report_window(self, image: Pixels, problem: str) -> None:
        height, width = _size(image)
        assert self.predictor.window
        self.report(
            f"An image of {width} x {height} pixels is predicted in windows of "
            f"{self.predictor.window.size}: {problem}."
        )

    def _to_tensor(self, image: Pixels) -> Tensor:
        padded = torch.from_numpy(self.padding.pad(image))
        return padded.permute(2, 0, 1)[None].to(self.execution.accelerator)  # (1, 3, H, W)

    @contextmanager
    def _autocast(self, image: Pixels) -> Iterator[None]:
        dtype = self.execution.autocast_dtype
        try:
            with torch.autocast(self.execution.accelerator, dtype, enabled=dtype is not None):
                yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            height, width = _size(image)
            raise MemoryError(
                f"{width} x {height} pixels need more memory than is available. "
                f"Set {self.window_key}={SUGGESTED_WINDOW} to predict in windows"
            ) from None


def _size(image: Pixels) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
