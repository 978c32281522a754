"""Comparison of an exported file with the network in PyTorch, image by image."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeplab.data.transforms import EvalTransform
from deeplab.inference.predictor import Predictor
from deeplab.tools.export.formats import Runner
from deeplab.utils.errors import UserError

Pixels = NDArray[np.uint8]
Probabilities = NDArray[np.float32]

TOLERANCE = 1e-3
"""Largest allowed difference between two probabilities.

It applies to each probability in the file's output, and to how much less likely, by PyTorch, the
file's class may be than the most likely one. Both compute in float32, in different orders.
"""


@dataclass
class Agreement:
    """Compared images and how far the file agrees with PyTorch on them."""

    source: str
    """Origin of the images."""
    sizes: list[tuple[int, ...]] = field(default_factory=list)
    """Batch, height and width of everything that was compared."""
    pixels: int = 0
    same: int = 0
    """Number of pixels with the same class."""
    classes: float = 0.0
    """Largest gap, in PyTorch's probabilities, between the most likely class and the file's."""
    probabilities: float | None = None
    """Largest difference of a probability; None if the file does not output them."""

    def add(self, outputs: Sequence[NDArray[Any]], reference: Probabilities) -> None:
        """Count a file's outputs against the reference probabilities ``(N, K, H, W)``."""
        labels = outputs[0]
        best = reference.max(axis=1)
        chosen = np.take_along_axis(reference, labels[:, None].astype(np.int64), axis=1)[:, 0]
        self.sizes.append(labels.shape)
        self.pixels += labels.size
        self.same += int((labels == reference.argmax(axis=1)).sum())
        self.classes = _max_or_nan(self.classes, (best - chosen).max())
        if len(outputs) > 1:
            difference = np.abs(outputs[1] - reference).max()
            self.probabilities = _max_or_nan(self.probabilities or 0.0, difference)

    def __str__(self) -> str:
        share = 100 * self.same / self.pixels
        parts = [
            f"{share:.4f} % of {self.pixels:,} pixels have the same class (in the images and in "
            "pieces of the first)"
        ]
        if self.same < self.pixels:
            parts.append(f"the others are within {self.classes:.1e} of the most likely class")
        if self.probabilities is not None:
            parts.append(f"probabilities differ by at most {self.probabilities:.1e}")
        return ", ".join(parts)

    def record(self) -> dict[str, Any]:
        """Return the fields as a dictionary for JSON."""
        return asdict(self)

    def check(self) -> None:
        """Raise UserError if the two differ by more than float32 rounding explains."""
        if not _max_or_nan(self.classes, self.probabilities or 0.0) <= TOLERANCE:
            raise UserError(
                f"The exported file and PyTorch differ: {self} ({self.source}); the tolerance is "
                f"{TOLERANCE}. Nothing was written. Try another format=..., or write the file "
                "without a comparison: num_check_images=0."
            )


def _max_or_nan(a: float, b: float) -> float:
    """Return the larger number, or nan if one of them is nan."""
    return float(np.maximum(a, b))


def batches(images: Sequence[Pixels]) -> Iterator[Pixels]:
    """Yield the batches to compare, ``(N, H, W, 3)``.

    These are each image unchanged and, of the first image, three corners as one batch with an odd
    and an even side, and a small piece.
    """
    for image in images:
        yield image[None]
    height, width = images[0].shape[0] * 2 // 3 | 1, max(1, images[0].shape[1] // 2 & ~1)
    corners = (images[0][:height, :width], images[0][-height:, :width], images[0][:height, -width:])
    yield np.stack(corners)
    yield images[0][None, :31, :20]


def reference_probabilities(
    predictor: Predictor, padding: EvalTransform, image: Pixels
) -> Probabilities:
    """Return the probabilities ``(K, H, W)`` of an image ``(H, W, 3)``, by ``deeplab predict``."""
    size = (image.shape[0], image.shape[1])
    padded = torch.from_numpy(padding.pad(image)).permute(2, 0, 1)[None]
    bands = [band[0] for _, band in predictor.probabilities(padded, size)]
    return np.asarray(torch.cat(bands, dim=1).numpy(), np.float32)


def compare(
    runner: Runner,
    predictor: Predictor,
    padding: EvalTransform,
    images: Sequence[Pixels],
    source: str,
) -> Agreement:
    """Compare the outputs of an exported file with those of the network in PyTorch.

    Args:
        runner: the exported file.
        predictor: the network, with a single inference strategy.
        padding: the padding of images before the network.
        images: RGB images ``(H, W, 3)``.
        source: origin of the images, for messages.

    Raises:
        UserError: they differ by more than ``TOLERANCE``.
    """
    agreement = Agreement(source)
    for batch in batches(images):
        outputs = runner(np.ascontiguousarray(batch))
        references = [reference_probabilities(predictor, padding, image) for image in batch]
        agreement.add(outputs, np.stack(references))
    agreement.check()
    return agreement
