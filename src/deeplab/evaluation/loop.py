"""Evaluation loop: one pass over the images of a split, which resumes after an interruption.

The images are in batches that do not depend on what is done already or on the number of devices,
each of which predicts some of the batches. Every image counts once, and the scores are added up in
the split's order: the result is the same on any number of devices.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from deeplab.evaluation.device_workers import Share, evaluate_on_devices
from deeplab.evaluation.jobs import EvaluationJob
from deeplab.evaluation.progress import Progress, new_progress_files
from deeplab.evaluation.task import EvaluationTask, Predict, PredictedImage
from deeplab.utils.parallel import prefetch
from deeplab.utils.progress import ProgressBar
from deeplab.utils.sampling import sample_evenly


def evaluate_jobs(task: EvaluationTask, jobs: Sequence[EvaluationJob], temporary: Path) -> None:
    """Run several evaluation jobs in one pass over the images and write their files.

    Args:
        task: the network and its images.
        jobs: the jobs to run.
        temporary: folder that keeps what is done if this is interrupted; see ``working_folder``.
    """
    drafts, ids = [job.in_folder(temporary) for job in jobs], task.data.val_set.ids
    progress = _progress(task, jobs)
    progress.restore(temporary)
    if progress.done:
        print(f"Resuming: {len(progress.done)} of {len(ids)} images are already evaluated")
    if len(progress.done) < len(ids):
        for draft in drafts:
            draft.folder.path.mkdir(parents=True, exist_ok=True)
        _evaluate_rest(task, jobs, temporary, set(progress.done))
        progress = _progress(task, jobs)
        progress.restore(temporary)
    progress.sort(ids)
    task.data.skipped.update(progress.skipped)
    for i, (job, draft) in enumerate(zip(jobs, drafts, strict=True)):
        if draft.folder.path.is_dir():  # otherwise finished before an interruption
            examples = {k: outputs[i] for k, outputs in progress.examples.items() if outputs}
            task.write(draft, progress.accumulators[job.folder.path.name], examples)
            job.install(draft)


def _progress(
    task: EvaluationTask, jobs: Sequence[EvaluationJob], path: Path | None = None
) -> Progress:
    accumulators = {job.folder.path.name: task.accumulator() for job in jobs}
    return Progress(accumulators, sample_evenly(task.data.val_set.ids, task.num_examples), path)


def _evaluate_rest(
    task: EvaluationTask, jobs: Sequence[EvaluationJob], temporary: Path, done: set[str]
) -> None:
    """Evaluate the images that are not done yet, on all devices."""
    ids, size = task.data.val_set.ids, task.data.eval_batch_size
    finished = {i for i, image_id in enumerate(ids) if image_id in done}
    whole = [list(range(i, min(i + size, len(ids)))) for i in range(0, len(ids), size)]
    batches = [batch for batch in whole if not finished.issuperset(batch)]
    count = min(task.execution.devices, len(batches))
    files = new_progress_files(temporary, count)
    shares = [
        Share(task.config, jobs, temporary, path, i, batches[i::count], sorted(finished))
        for i, path in enumerate(files)
    ]
    show = task.config.trainer.enable_progress_bar
    with ProgressBar("Evaluating", len(ids), "img", done=len(done), show=show) as bar:
        if count == 1:
            evaluate_share(task, shares[0], bar.update)
        else:
            evaluate_on_devices(shares, bar.update)


def evaluate_share(task: EvaluationTask, share: Share, report: Callable[[int], None]) -> None:
    """Evaluate the images of a share on the device of this process.

    Args:
        task: the network and its images.
        share: the images.
        report: receives numbers of predicted images.
    """
    drafts = [job.in_folder(share.temporary) for job in share.jobs]
    progress = _progress(task, share.jobs, share.progress)

    def score(image: PredictedImage) -> Sequence[Any]:
        return () if image.skipped else task.score(image, drafts)

    images = _predict_images(task, task.predict_function(share.jobs), share, report)
    try:
        for (image,), scores in prefetch(
            score,
            ((image,) for image in images),
            num_threads=share.num_threads,
            max_pending=4 * share.num_threads,
        ):
            progress.add(image, scores)
    finally:  # also after Ctrl-C
        progress.save()


def _predict_images(
    task: EvaluationTask, predict: Predict, share: Share, report: Callable[[int], None]
) -> Iterator[PredictedImage]:
    """Yield the outputs for the images of a share that are not done yet."""
    device, dtype = task.execution.accelerator, task.execution.autocast_dtype
    done = set(share.done)
    for indices, batch in zip(share.batches, task.data.eval_dataloader(share.batches), strict=True):
        images = batch["image"].to(device, non_blocking=True)
        with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype is not None):
            outputs = predict(images, batch)
        new = [i for i, index in enumerate(indices) if index not in done]
        for i in new:
            truth, skipped = task.truth(batch, i), batch["skipped"][i]
            yield PredictedImage(batch["image_id"][i], skipped, truth, outputs[i])
        report(len(new))
