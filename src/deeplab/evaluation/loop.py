"""Evaluation loop: one pass over the images of a split for several strategies."""

from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from deeplab.checkpoints.trained_run import TrainedRun
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.data.class_set import write_mask
from deeplab.data.datamodules import SegmentationData
from deeplab.data.dataset import evenly_spaced
from deeplab.evaluation.accumulator import ImageScore, ScoreAccumulator, score_image
from deeplab.evaluation.result_files import EvaluationJob, write_evaluation, write_example_figure
from deeplab.evaluation.resume import PredictedImage, Progress
from deeplab.inference.predictor import Predictor
from deeplab.inference.speed import Speed, measure_speed
from deeplab.inference.strategy import Strategy
from deeplab.utils.hardware import Execution
from deeplab.utils.parallel import cpu_count, prefetch
from deeplab.utils.progress_lines import ProgressLines

NUM_EXAMPLES = 6
"""Number of images in the example figure."""


def evaluate_strategies(
    jobs: list[EvaluationJob],
    temporary: Path,
    trained: TrainedRun,
    config: EvaluateConfig,
    data: SegmentationData,
    execution: Execution,
) -> None:
    """Run several evaluation jobs in one pass over the images and write their files.

    Args:
        jobs: the jobs to run.
        temporary: folder that keeps what is done if this is interrupted; see ``working_folder``.
        trained: the network.
        config: config of the evaluation.
        data: its images.
        execution: execution settings.
    """
    classes, bands = len(trained.config.data.classes), jobs[0].identity.protocol.bands or "void"
    strategies = [job.strategy for job in jobs]
    predictor = trained.predictor(strategies, execution, key="strategies")
    draft_jobs = [job.in_folder(temporary) for job in jobs]
    progress = Progress(
        temporary,
        {
            strategy.name: ScoreAccumulator(classes=classes, widths=config.trimap_widths)
            for strategy in strategies
        },
        examples=evenly_spaced(data.val_set.ids, NUM_EXAMPLES),
        skipped=data.skipped,
    )
    if progress.images:
        print(f"Resuming: {progress.images} of {len(data.val_set)} images are already evaluated")
    if progress.images < len(data.val_set):
        for draft_job in draft_jobs:
            draft_job.folder.path.mkdir(parents=True, exist_ok=True)

    def score(image: PredictedImage) -> list[ImageScore]:
        if image.skipped:
            return []
        if config.save_predictions:
            for job, label in zip(draft_jobs, image.maps, strict=True):
                write_mask(job.folder.prediction(image.id), label, data.classes.palette)
        return score_image(
            image.truth, image.maps, classes=classes, widths=config.trimap_widths, bands=bands
        )

    images = _predict_images(
        predictor, data, execution, first=progress.images, show=config.trainer.enable_progress_bar
    )
    try:
        for (image,), image_scores in prefetch(
            score,
            ((image,) for image in images),
            num_threads=cpu_count(),
            max_pending=4 * cpu_count(),
        ):
            progress.add(image, image_scores)
    finally:  # also after Ctrl-C
        progress.save()
    for i, (job, draft_job) in enumerate(zip(jobs, draft_jobs, strict=True)):
        if not draft_job.folder.path.is_dir():  # finished before an interruption
            continue
        examples = {k: labels[i] for k, labels in progress.examples.items() if labels}
        write_example_figure(draft_job, data, examples)
        speed = _speed(job.strategy, trained, execution) if config.measure_speed else None
        accumulator = progress.accumulators[job.strategy.name]
        write_evaluation(draft_job, accumulator, trained.config, data, execution, speed)
        job.install(draft_job)


def _speed(strategy: Strategy, trained: TrainedRun, execution: Execution) -> Speed:
    """Measure the speed on this machine at the size that images are padded to."""
    return measure_speed(
        trained.predictor([strategy], execution, key="strategies"),
        input_size=trained.config.data.padded_size,
        device=execution.accelerator,
        dtype=execution.autocast_dtype,
    )


def _predict_images(
    predictor: Predictor, data: SegmentationData, execution: Execution, *, first: int, show: bool
) -> Iterator[PredictedImage]:
    """Yield predictions without padding, beginning with image number ``first``."""
    dtype, count = execution.autocast_dtype, len(data.val_set)
    loader = data.val_dataloader(first)
    lines = ProgressLines(count, "Image", done=first, show=not show)
    with tqdm(total=count, initial=first, desc="Evaluating", unit="img", disable=not show) as bar:
        for batch in loader:
            images = batch["image"].to(execution.accelerator, non_blocking=True)
            with torch.autocast(execution.accelerator, dtype, enabled=dtype is not None):
                maps = predictor.label_maps(images, batch["size"])
            for i, labels in enumerate(maps):
                height, width = batch["size"][i]
                truth = batch["label"][i, :height, :width].numpy()
                predictions = [label.cpu().numpy() for label in labels]
                yield PredictedImage(batch["image_id"][i], batch["skipped"][i], truth, predictions)
            bar.update(len(maps))
            lines.advance(len(maps))
