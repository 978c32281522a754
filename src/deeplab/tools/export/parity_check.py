"""Whether a file finds what the network finds in PyTorch, image by image."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeplab.data.transforms import EvalTransform
from deeplab.inference.predictor import Predictor
from deeplab.tools.export.formats import Run
from deeplab.utils.errors import UserError

Pixels = NDArray[np.uint8]
Probabilities = NDArray[np.float32]

TOLERANCE = 1e-3
"""By how much a probability may differ, and how much less likely than the likeliest class, by
PyTorch, one may be that a file finds. Both compute in float32, in different orders."""


@dataclass
class Agreement:
    """What was compared and how far it agrees."""

    source: str
    """Where the images are from."""
    sizes: list[tuple[int, ...]] = field(default_factory=list)
    """Batch, height and width of all that was compared."""
    pixels: int = 0
    same: int = 0
    """Pixels with the same class."""
    classes: float = 0.0
    """How much less likely, by PyTorch, a class was that the file found; the largest."""
    probabilities: float | None = None
    """The largest difference; None where the file has none."""

    def add(self, found: Sequence[NDArray[Any]], expected: Probabilities) -> None:
        """Count a file's outputs against probabilities ``(N, K, H, W)``."""
        labels = found[0]
        best = expected.max(axis=1)
        chosen = np.take_along_axis(expected, labels[:, None].astype(np.int64), axis=1)[:, 0]
        self.sizes.append(labels.shape)
        self.pixels += labels.size
        self.same += int((labels == expected.argmax(axis=1)).sum())
        self.classes = _larger(self.classes, (best - chosen).max())
        if len(found) > 1:
            difference = np.abs(found[1] - expected).max()
            self.probabilities = _larger(self.probabilities or 0.0, difference)

    def __str__(self) -> str:
        parts = [f"{100 * self.same / self.pixels:.4f} % of {self.pixels:,} pixels alike"]
        if self.same < self.pixels:
            parts.append(f"the others within {self.classes:.1e} of the likeliest class")
        if self.probabilities is not None:
            parts.append(f"probabilities differ by {self.probabilities:.1e} at most")
        return ", ".join(parts)

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def check(self) -> None:
        """Raise UserError where the two differ by more than float32 explains."""
        if not _larger(self.classes, self.probabilities or 0.0) <= TOLERANCE:
            raise UserError(
                f"The file and PyTorch differ: {self} ({self.source}); {TOLERANCE} is allowed. "
                "Nothing was written. Another format=... may do better; check=0 writes it anyway."
            )


def _larger(a: float, b: float) -> float:
    """The larger one, or nan where one of them is."""
    return float(np.maximum(a, b))


def batches(images: Sequence[Pixels]) -> Iterator[Pixels]:
    """What is compared, ``(N, H, W, 3)``: each image as it is, and of the first one three corners
    as a batch of odd and even sides, and a small piece."""
    for image in images:
        yield image[None]
    height, width = images[0].shape[0] * 2 // 3 | 1, max(1, images[0].shape[1] // 2 & ~1)
    corners = (images[0][:height, :width], images[0][-height:, :width], images[0][:height, -width:])
    yield np.stack(corners)
    yield images[0][None, :31, :20]


def expected(predictor: Predictor, padding: EvalTransform, image: Pixels) -> Probabilities:
    """The probabilities ``(K, H, W)`` of one image ``(H, W, 3)``, as ``predict.py`` has them."""
    size = (image.shape[0], image.shape[1])
    padded = torch.from_numpy(padding.pad(image)).permute(2, 0, 1)[None]
    bands = [band[0] for _, band in predictor.probabilities(padded, size)]
    return np.asarray(torch.cat(bands, dim=1).numpy(), np.float32)


def compare(
    run: Run, predictor: Predictor, padding: EvalTransform, images: Sequence[Pixels], source: str
) -> Agreement:
    """Put images through a file and through the network, which is under one strategy.

    Raises:
        UserError: they differ by more than ``TOLERANCE``.
    """
    agreement = Agreement(source)
    for batch in batches(images):
        found = run(np.ascontiguousarray(batch))
        agreement.add(found, np.stack([expected(predictor, padding, image) for image in batch]))
    agreement.check()
    return agreement
