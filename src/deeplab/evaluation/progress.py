"""What an evaluation has done, in files from which an interrupted one goes on.

Each process of each session has a file of its own, with the images that it has evaluated. Together
they are the progress, in whatever order the images were done, and on however many devices.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deeplab.evaluation.accumulator import Accumulator
from deeplab.evaluation.task import Array, PredictedImage
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.reading import report_damage

SAVE_INTERVAL = 5.0
"""Seconds between two saves; longer if saving takes more than a twentieth of that."""


class Progress:
    """Accumulators of jobs that are evaluated in one pass.

    Args:
        accumulators: empty accumulators by the name of their job.
        examples: ids of the images whose outputs are saved.
        path: file for ``save``; None for what is only read.
    """

    def __init__(
        self,
        accumulators: Mapping[str, Accumulator],
        examples: Sequence[str],
        path: Path | None = None,
    ) -> None:
        self.path, self.accumulators = path, accumulators
        self.examples: dict[str, Sequence[Array] | None] = dict.fromkeys(examples)
        self.done: list[str] = []
        """Ids of the processed images, including skipped ones."""
        self.skipped: Counter[str] = Counter()
        """How often each bad file was skipped."""
        self._is_consistent = True
        self._interval, self._saved_at = SAVE_INTERVAL, time.monotonic()

    def add(self, image: PredictedImage, scores: Sequence[Any]) -> None:
        """Add the scores of an image, and save the progress from time to time."""
        self._is_consistent = False
        self.done.append(image.id)
        self.skipped.update(image.skipped)
        if not image.skipped:
            for accumulator, score in zip(self.accumulators.values(), scores, strict=True):
                accumulator.add(image.id, score)
            if image.id in self.examples:
                self.examples[image.id] = image.outputs
        self._is_consistent = True
        if time.monotonic() - self._saved_at > self._interval:
            self.save()

    def save(self) -> None:
        """Save the progress, unless an interruption has left the last image half added."""
        if not self._is_consistent or not self.done:
            return
        assert self.path is not None
        started_at = time.monotonic()
        arrays: dict[str, Any] = {
            f"accumulator/{name}/{key}": value
            for name, accumulator in self.accumulators.items()
            for key, value in accumulator.state().items()
        }
        for image_id, outputs in self.examples.items():
            arrays |= {
                f"examples/{image_id}/{name}": output
                for name, output in zip(self.accumulators, outputs or (), strict=False)
            }
        counts = json.dumps({"done": self.done, "skipped": self.skipped})
        with atomic_write(self.path) as draft, draft.open("wb") as file:
            np.savez(file, counts=np.array(counts), **arrays)
        self._saved_at = time.monotonic()
        self._interval = max(SAVE_INTERVAL, 20 * (self._saved_at - started_at))

    def restore(self, folder: Path) -> None:
        """Add what the files in a folder hold, of each all of it or, if it is damaged, nothing."""
        for path in progress_files(folder):
            try:
                with report_damage(path, "Its images are evaluated again."):
                    self._merge(path)
            except UserError as error:
                print(error)

    def _merge(self, path: Path) -> None:
        with np.load(path) as stored:
            arrays = dict(stored)
        counts = json.loads(str(arrays["counts"]))
        done, skipped = [str(i) for i in counts["done"]], Counter(counts["skipped"])
        if not set(done).isdisjoint(self.done):  # of a process that has outlived its session
            return
        states = [
            {key: arrays[f"accumulator/{name}/{key}"] for key in accumulator.state()}
            for name, accumulator in self.accumulators.items()
        ]
        for accumulator, state in zip(self.accumulators.values(), states, strict=True):
            accumulator.merge(state)
        for image_id in self.examples:
            keys = [f"examples/{image_id}/{name}" for name in self.accumulators]
            if all(key in arrays for key in keys):
                self.examples[image_id] = [arrays[key] for key in keys]
        self.done += done
        self.skipped.update(skipped)

    def sort(self, ids: Sequence[str]) -> None:
        """Bring everything into the order of ``ids``."""
        for accumulator in self.accumulators.values():
            accumulator.sort(ids)
        self.skipped = Counter(dict(sorted(self.skipped.items())))


def progress_files(folder: Path) -> list[Path]:
    """Return the files of the progress in a folder, by their number."""
    numbered = {
        int(match[1]): path
        for path in folder.glob("progress-*.npz")
        if (match := re.fullmatch(r"progress-(\d+)\.npz", path.name))
    }
    return [numbered[number] for number in sorted(numbered)]


def new_progress_files(folder: Path, count: int) -> list[Path]:
    """Return the paths of further files, one for each process of a session."""
    last = max((int(path.stem.partition("-")[2]) for path in progress_files(folder)), default=-1)
    return [folder / f"progress-{last + 1 + i}.npz" for i in range(count)]
