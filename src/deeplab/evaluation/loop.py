"""Evaluation loop: one pass over the images of a split, which resumes after an interruption."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from deeplab.data.dataset import evenly_spaced
from deeplab.evaluation.accumulator import Accumulator
from deeplab.evaluation.result_files import EvaluationJob
from deeplab.evaluation.task import Array, EvaluationTask, Predict, PredictedImage
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.parallel import cpu_count, prefetch
from deeplab.utils.progress_lines import ProgressLines
from deeplab.utils.reading import report_damage

SAVE_INTERVAL = 5.0
"""Seconds between two saves; longer if saving takes more than a twentieth of that."""


def evaluate_jobs(task: EvaluationTask, jobs: Sequence[EvaluationJob], temporary: Path) -> None:
    """Run several evaluation jobs in one pass over the images and write their files.

    Args:
        task: the network and its images.
        jobs: the jobs to run.
        temporary: folder that keeps what is done if this is interrupted; see ``working_folder``.
    """
    drafts, ids = [job.in_folder(temporary) for job in jobs], task.data.val_set.ids
    progress = Progress(
        temporary,
        {job.folder.path.name: task.accumulator() for job in jobs},
        examples=evenly_spaced(ids, task.num_examples),
        skipped=task.data.skipped,
    )
    if progress.images:
        print(f"Resuming: {progress.images} of {len(ids)} images are already evaluated")
    if progress.images < len(ids):
        for draft in drafts:
            draft.folder.path.mkdir(parents=True, exist_ok=True)
        _evaluate_images(task, jobs, drafts, progress)
    for i, (job, draft) in enumerate(zip(jobs, drafts, strict=True)):
        if draft.folder.path.is_dir():  # otherwise finished before an interruption
            examples = {k: outputs[i] for k, outputs in progress.examples.items() if outputs}
            task.write(draft, progress.accumulators[job.folder.path.name], examples)
            job.install(draft)


def _evaluate_images(
    task: EvaluationTask,
    jobs: Sequence[EvaluationJob],
    drafts: Sequence[EvaluationJob],
    progress: "Progress",
) -> None:
    """Add the images that are not evaluated yet to the progress, in order."""

    def score(image: PredictedImage) -> Sequence[Any]:
        return () if image.skipped else task.score(image, drafts)

    images = _predict_images(task, task.predict_function(jobs), first=progress.images)
    try:
        for (image,), scores in prefetch(
            score,
            ((image,) for image in images),
            num_threads=cpu_count(),
            max_pending=4 * cpu_count(),
        ):
            progress.add(image, scores)
    finally:  # also after Ctrl-C
        progress.save()


def _predict_images(
    task: EvaluationTask, predict: Predict, *, first: int
) -> Iterator[PredictedImage]:
    """Yield the outputs for the images, beginning with image number ``first``."""
    execution, count = task.execution, len(task.data.val_set)
    device, dtype = execution.accelerator, execution.autocast_dtype
    show = task.config.trainer.enable_progress_bar
    lines = ProgressLines(count, "Image", done=first, show=not show)
    with tqdm(total=count, initial=first, desc="Evaluating", unit="img", disable=not show) as bar:
        for batch in task.data.val_dataloader(first):
            images = batch["image"].to(device, non_blocking=True)
            with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype is not None):
                outputs = predict(images, batch)
            for i, image_id in enumerate(batch["image_id"]):
                truth, skipped = task.truth(batch, i), batch["skipped"][i]
                yield PredictedImage(image_id, skipped, truth, outputs[i])
            bar.update(len(images))
            lines.advance(len(images))


class Progress:
    """Accumulators of jobs that are evaluated in one pass, image by image in order.

    Args:
        folder: temporary folder of this evaluation only.
        accumulators: empty accumulators by the name of their job; some of those that were saved,
            or all.
        examples: ids of the images whose outputs are saved.
        skipped: how often each bad file was skipped; counts of the interrupted part are added.
    """

    def __init__(
        self,
        folder: Path,
        accumulators: Mapping[str, Accumulator],
        examples: Sequence[str],
        skipped: Counter[str],
    ) -> None:
        self.path = folder / "progress.npz"
        self.accumulators, self.skipped = accumulators, skipped
        self.examples: dict[str, Sequence[Array] | None] = dict.fromkeys(examples)
        self.images = 0
        """Number of processed images, including skipped ones."""
        self._is_consistent = True
        self._interval, self._saved_at = SAVE_INTERVAL, time.monotonic()
        if self.path.is_file():
            self._restore()

    def add(self, image: PredictedImage, scores: Sequence[Any]) -> None:
        """Add the scores of the next image, and save the progress from time to time."""
        self._is_consistent = False
        self.images += 1
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
        if not self._is_consistent:
            return
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
        counts = json.dumps({"images": self.images, "skipped": self.skipped})
        with atomic_write(self.path) as draft, draft.open("wb") as file:
            np.savez(file, counts=np.array(counts), **arrays)
        self._saved_at = time.monotonic()
        self._interval = max(SAVE_INTERVAL, 20 * (self._saved_at - started_at))

    def _restore(self) -> None:
        """Restore the progress from the file, all of it or, if the file is damaged, nothing."""
        try:
            with report_damage(self.path, "All images are evaluated again."):
                with np.load(self.path) as stored:
                    arrays = dict(stored)
                counts = json.loads(str(arrays["counts"]))
                images, skipped = int(counts["images"]), Counter(counts["skipped"])
                states = [
                    {key: arrays[f"accumulator/{name}/{key}"] for key in accumulator.state()}
                    for name, accumulator in self.accumulators.items()
                ]
        except UserError as error:
            print(error)
            return
        for accumulator, state in zip(self.accumulators.values(), states, strict=True):
            accumulator.restore(state)
        for image_id in self.examples:
            keys = [f"examples/{image_id}/{name}" for name in self.accumulators]
            if all(key in arrays for key in keys):
                self.examples[image_id] = [arrays[key] for key in keys]
        self.skipped.update(skipped)
        self.images = images
