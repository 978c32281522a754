"""What an evaluation has counted so far, kept on disk so that an interrupted one can go on."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.evaluation.accumulator import ImageScore, ScoreAccumulator
from deeplab.utils.files import replacing

Pixels = NDArray[np.uint8]

SECONDS = 30.0
"""Between two savings; longer where saving takes more than a twentieth of that."""


class Predicted(NamedTuple):
    """An image of the split as it comes out of the network."""

    id: str
    skipped: tuple[str, ...]
    """Files that could not be read; there is nothing else then."""
    truth: Pixels
    maps: list[Pixels]
    """The label map of each strategy."""


class Progress:
    """The tallies of strategies that are evaluated in one pass, image after image in order.

    Args:
        folder: where the evaluation is made; it is of this evaluation alone.
        tallies: empty ones, a strategy each.
        painted: ids of the images whose label maps are kept.
        skipped: how often each bad file was passed over; those of the interrupted part are added.
    """

    def __init__(
        self,
        folder: Path,
        tallies: Sequence[ScoreAccumulator],
        painted: Sequence[str],
        skipped: Counter[str],
    ) -> None:
        self.path = folder / "progress.npz"
        self.tallies, self.skipped = tallies, skipped
        self.painted: dict[str, list[Pixels] | None] = dict.fromkeys(painted)
        self.images = 0
        """How many are behind it, those included that were passed over."""
        self._wait, self._saved = SECONDS, time.monotonic()
        if self.path.is_file():
            self._restore()

    def add(self, image: Predicted, scores: list[ImageScore]) -> None:
        """Count the next image; now and then keep all so far."""
        self.images += 1
        self.skipped.update(image.skipped)
        if not image.skipped:
            for tally, score in zip(self.tallies, scores, strict=True):
                tally.add(image.id, score)
            if image.id in self.painted:
                self.painted[image.id] = image.maps
        if time.monotonic() - self._saved > self._wait:
            self.save()

    def save(self) -> None:
        """Keep what is counted."""
        begun = time.monotonic()
        arrays: dict[str, Any] = {
            f"tally{i}/{key}": value
            for i, tally in enumerate(self.tallies)
            for key, value in tally.state().items()
        }
        for image_id, maps in self.painted.items():
            arrays |= {f"painted/{image_id}/{i}": labels for i, labels in enumerate(maps or [])}
        said = json.dumps({"images": self.images, "skipped": self.skipped})
        with replacing(self.path) as draft, draft.open("wb") as file:
            np.savez(file, said=np.array(said), **arrays)
        self._saved = time.monotonic()
        self._wait = max(SECONDS, 20 * (self._saved - begun))

    def _restore(self) -> None:
        """From the file; one that is damaged is as good as none."""
        try:
            with np.load(self.path) as stored:
                arrays = dict(stored)
            said = json.loads(str(arrays["said"]))
        except (OSError, ValueError, KeyError):
            return
        for i, tally in enumerate(self.tallies):
            of_it = f"tally{i}/"
            tally.restore({k.removeprefix(of_it): arrays[k] for k in arrays if k.startswith(of_it)})
        for image_id in self.painted:
            maps = [f"painted/{image_id}/{i}" for i in range(len(self.tallies))]
            if all(key in arrays for key in maps):
                self.painted[image_id] = [arrays[key] for key in maps]
        self.skipped.update(said["skipped"])
        self.images = int(said["images"])
