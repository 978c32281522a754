"""Progress of an evaluation, saved on disk so that an interrupted evaluation can resume."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.evaluation.accumulator import ImageScore, ScoreAccumulator
from deeplab.utils.files import atomic_write

Pixels = NDArray[np.uint8]

SAVE_INTERVAL = 5.0
"""Seconds between two saves; longer if saving takes more than a twentieth of that."""


class PredictedImage(NamedTuple):
    """Prediction of the network for an image of the split."""

    id: str
    skipped: tuple[str, ...]
    """Files that could not be read; if there are any, the image has no truth and label maps."""
    truth: Pixels
    maps: list[Pixels]
    """Label map of each strategy."""


class Progress:
    """Accumulators of strategies that are evaluated in one pass, image by image in order.

    Args:
        folder: temporary folder of this evaluation only.
        accumulators: empty accumulators by the name of their strategy; some of those that were
            saved, or all.
        examples: ids of the images whose label maps are saved.
        skipped: how often each bad file was skipped; counts of the interrupted part are added.
    """

    def __init__(
        self,
        folder: Path,
        accumulators: Mapping[str, ScoreAccumulator],
        examples: Sequence[str],
        skipped: Counter[str],
    ) -> None:
        self.path = folder / "progress.npz"
        self.accumulators, self.skipped = accumulators, skipped
        self.examples: dict[str, list[Pixels] | None] = dict.fromkeys(examples)
        self.images = 0
        """Number of processed images, including skipped ones."""
        self._is_consistent = True
        self._interval, self._saved_at = SAVE_INTERVAL, time.monotonic()
        if self.path.is_file():
            self._restore()

    def add(self, image: PredictedImage, scores: list[ImageScore]) -> None:
        """Add the scores of the next image, and save the progress from time to time."""
        self._is_consistent = False
        self.images += 1
        self.skipped.update(image.skipped)
        if not image.skipped:
            for accumulator, score in zip(self.accumulators.values(), scores, strict=True):
                accumulator.add(image.id, score)
            if image.id in self.examples:
                self.examples[image.id] = image.maps
        self._is_consistent = True
        if time.monotonic() - self._saved_at > self._interval:
            self.save()

    def save(self) -> None:
        """Save the progress, unless an interruption has left the last image half added."""
        if not self._is_consistent:
            return
        started_at = time.monotonic()
        arrays: dict[str, Any] = {
            f"accumulator/{name}/{key}": value
            for name, accumulator in self.accumulators.items()
            for key, value in accumulator.state().items()
        }
        for image_id, maps in self.examples.items():
            arrays |= {
                f"examples/{image_id}/{name}": labels
                for name, labels in zip(self.accumulators, maps or (), strict=False)
            }
        counts = json.dumps({"images": self.images, "skipped": self.skipped})
        with atomic_write(self.path) as draft, draft.open("wb") as file:
            np.savez(file, counts=np.array(counts), **arrays)
        self._saved_at = time.monotonic()
        self._interval = max(SAVE_INTERVAL, 20 * (self._saved_at - started_at))

    def _restore(self) -> None:
        """Restore the progress from the file; ignore a damaged file."""
        try:
            with np.load(self.path) as stored:
                arrays = dict(stored)
            counts = json.loads(str(arrays["counts"]))
        except (OSError, ValueError, KeyError):
            return
        for name, accumulator in self.accumulators.items():
            prefix = f"accumulator/{name}/"
            keys = [key for key in arrays if key.startswith(prefix)]
            accumulator.restore({key.removeprefix(prefix): arrays[key] for key in keys})
        for image_id in self.examples:
            maps = [f"examples/{image_id}/{name}" for name in self.accumulators]
            if all(key in arrays for key in maps):
                self.examples[image_id] = [arrays[key] for key in maps]
        self.skipped.update(counts["skipped"])
        self.images = int(counts["images"])
