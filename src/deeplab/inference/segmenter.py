"""Prediction of single images with one inference strategy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab.data.transforms import EvalTransform
from deeplab.inference.predictor import Predictor
from deeplab.utils.hardware import Execution

Pixels = NDArray[np.uint8]


class Segmenter:
    """Returns label maps and probabilities of images of any size.

    Args:
        predictor: the network with a single strategy.
        execution: accelerator and precision.
        padding: pads small images to the size at which the network is evaluated.
        num_classes: number of classes.

    Attributes:
        window_key: name of the setting that saves memory, for messages.
    """

    window_key = "window_size"

    def __init__(
        self, predictor: Predictor, execution: Execution, padding: EvalTransform, num_classes: int
    ) -> None:
        self.predictor, self.execution = predictor, execution
        self.padding, self.num_classes = padding, num_classes

    def labels(self, image: Pixels) -> Pixels:
        """Return the most likely class of each pixel ``(H, W)`` of an RGB image ``(H, W, 3)``.

        Raises:
            MemoryError: the image is too large for the device.
        """
        with self._autocast(image):
            ((label,),) = self.predictor.label_maps(self._to_tensor(image), [_size(image)])
            return np.asarray(label.cpu().numpy(), np.uint8)

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
        with self._autocast(image):
            size = _size(image)
            label = np.empty(size, np.uint8)
            probabilities = np.empty((self.num_classes, *size), dtype)
            for top, (chunk,) in self.predictor.probabilities(self._to_tensor(image), size):
                rows = slice(top, top + chunk.shape[1])
                label[rows] = chunk.max(dim=0).indices.cpu().numpy()
                probabilities[:, rows] = chunk.cpu().numpy()
            return label, probabilities

    def _to_tensor(self, image: Pixels) -> Tensor:
        padded = torch.from_numpy(self.padding.pad(image))
        return padded.permute(2, 0, 1)[None].to(self.execution.accelerator)  # (1, 3, H, W)

    @contextmanager
    def _autocast(self, image: Pixels) -> Iterator[None]:
        dtype = self.execution.autocast_dtype
        try:
            with torch.autocast(self.execution.accelerator, dtype, enabled=dtype is not None):
                yield
        except (RuntimeError, MemoryError) as error:  # torch raises RuntimeError on CPU and GPU
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            height, width = _size(image)
            raise MemoryError(
                f"{width} x {height} pixels need more memory than is available. "
                f"Set {self.window_key}=1025 to predict in windows"
            ) from None


def _size(image: Pixels) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
