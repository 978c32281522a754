"""A trained network under one strategy, for one image at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab.data.transforms import EvalTransform
from deeplab.inference.predictor import Predictor
from deeplab.utils.hardware import Execution

Pixels = NDArray[np.uint8]
Half = NDArray[np.float16]


class Segmenter:
    """Label maps and probabilities of images of any size.

    Args:
        predictor: the network, under one strategy.
        execution: where and how precisely it runs.
        padding: brings small images to the size that the network is evaluated at.
        classes: their number.
    """

    def __init__(
        self, predictor: Predictor, execution: Execution, padding: EvalTransform, classes: int
    ) -> None:
        self.predictor, self.execution = predictor, execution
        self.padding, self.classes = padding, classes

    def labels(self, image: Pixels) -> Pixels:
        """The most likely class of each pixel ``(H, W)`` of an RGB image ``(H, W, 3)``.

        Raises:
            MemoryError: the image is too large for the device.
        """
        with self._running(image):
            ((label,),) = self.predictor.label_maps(self._tensor(image), [_size(image)])
            return np.asarray(label.cpu().numpy(), np.uint8)

    def probabilities(self, image: Pixels) -> tuple[Pixels, Half]:
        """The most likely class of each pixel ``(H, W)``, and the probabilities of all classes
        ``(K, H, W)``, of which no other copy than a band is ever alive.

        Raises:
            MemoryError: as ``labels`` does.
        """
        with self._running(image):
            size = _size(image)
            label, found = np.empty(size, np.uint8), np.empty((self.classes, *size), np.float16)
            for top, (band,) in self.predictor.probabilities(self._tensor(image), size):
                rows = slice(top, top + band.shape[1])
                label[rows] = band.max(dim=0).indices.cpu().numpy()
                found[:, rows] = band.half().cpu().numpy()
            return label, found

    def _tensor(self, image: Pixels) -> Tensor:
        padded = torch.from_numpy(self.padding.pad(image))
        return padded.permute(2, 0, 1)[None].to(self.execution.accelerator)  # (1, 3, H, W)

    @contextmanager
    def _running(self, image: Pixels) -> Iterator[None]:
        dtype = self.execution.autocast_dtype
        try:
            with torch.autocast(self.execution.accelerator, dtype, enabled=dtype is not None):
                yield
        except (RuntimeError, MemoryError) as error:  # torch raises RuntimeError for both devices
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            height, width = _size(image)
            raise MemoryError(
                f"{width} x {height} pixels take more memory than there is; window=1025 cuts them"
            ) from None


def _size(image: Pixels) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
