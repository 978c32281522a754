"""One pass over the images of a split for several strategies, and the files of their results."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from deeplab.checkpoints.trained_run import TrainedRun
from deeplab.config.build_datamodule import padded_to
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.data.class_set import write_mask
from deeplab.data.datamodules import SegmentationData
from deeplab.data.dataset import spread
from deeplab.evaluation.accumulator import ImageScore, ScoreAccumulator, score_image
from deeplab.evaluation.result_files import Task, paint_examples, write_result
from deeplab.evaluation.resume import Predicted, Progress
from deeplab.inference.predictor import Predictor
from deeplab.inference.speed import Speed, measure_speed
from deeplab.inference.strategy import Strategy
from deeplab.tracking.provenance import code_version
from deeplab.utils.hardware import Execution
from deeplab.utils.parallel import cpu_count, prefetch

EXAMPLES = 6
"""Images that are painted."""


def measure(
    tasks: list[Task],
    trained: TrainedRun,
    config: EvaluateConfig,
    data: SegmentationData,
    execution: Execution,
) -> None:
    """One pass over the images for all tasks, and their files."""
    classes = len(trained.config.data.classes)
    strategies = [task.strategy for task in tasks]
    predictor = trained.predictor(strategies, execution, key="strategies")
    made = _workplace(trained, tasks)
    working = [task.made_in(made) for task in tasks]
    progress = Progress(
        made,
        [ScoreAccumulator(classes=classes, widths=config.trimap_widths) for _ in tasks],
        painted=spread(data.val_set.ids, EXAMPLES),
        skipped=data.skipped,
    )
    if progress.images:
        print(f"Goes on: {progress.images} of {len(data.val_set)} images were done before")

    def score(image: Predicted) -> list[ImageScore]:
        if image.skipped:
            return []
        if config.save_predictions:
            for task, label in zip(working, image.maps, strict=True):
                write_mask(task.folder.prediction(image.id), label, data.classes.palette)
        return score_image(image.truth, image.maps, classes=classes, widths=config.trimap_widths)

    images = _predicted(
        predictor, data, execution, first=progress.images, show=config.trainer.enable_progress_bar
    )
    for (image,), scored in prefetch(
        score, ((image,) for image in images), threads=cpu_count(), waiting=4 * cpu_count()
    ):
        progress.add(image, scored)
    for i, (task, tally) in enumerate(zip(working, progress.tallies, strict=True)):
        examples = {k: labels[i] for k, labels in progress.painted.items() if labels}
        paint_examples(task, data, examples)
        speed = _speed(task.strategy, trained, execution) if config.measure_speed else None
        write_result(task, tally, trained.config, data, execution, speed)
    for task, whole in zip(tasks, working, strict=True):
        task.take(whole)
    shutil.rmtree(made)


def _workplace(trained: TrainedRun, tasks: Sequence[Task]) -> Path:
    """The folder in which results are made until they are whole: the same for the same tasks of
    the same version of the code, so that what was interrupted goes on."""
    asked = json.dumps([code_version(), *(task.stamp for task in tasks)], sort_keys=True)
    digest = hashlib.sha256(asked.encode()).hexdigest()[:16]
    folder = trained.folder.evaluations / f".unfinished-{digest}"
    folder.mkdir(exist_ok=True)
    return folder


def _speed(strategy: Strategy, trained: TrainedRun, execution: Execution) -> Speed:
    """On this machine, at the size that images are padded to."""
    return measure_speed(
        trained.predictor([strategy], execution, key="strategies"),
        input_size=padded_to(trained.config.data),
        device=execution.accelerator,
        dtype=execution.autocast_dtype,
    )


def _predicted(
    predictor: Predictor, data: SegmentationData, execution: Execution, *, first: int, show: bool
) -> Iterator[Predicted]:
    """The images from the ``first`` on, without padding."""
    dtype, count = execution.autocast_dtype, len(data.val_set)
    loader = data.val_dataloader(first)
    with tqdm(total=count, initial=first, desc="Evaluating", unit="img", disable=not show) as bar:
        for batch in loader:
            images = batch["image"].to(execution.accelerator, non_blocking=True)
            with torch.autocast(execution.accelerator, dtype, enabled=dtype is not None):
                maps = predictor.label_maps(images, batch["size"])
            for i, labels in enumerate(maps):
                height, width = batch["size"][i]
                truth = batch["label"][i, :height, :width].numpy()
                found = [label.cpu().numpy() for label in labels]
                yield Predicted(batch["image_id"][i], batch["skipped"][i], truth, found)
            bar.update(len(maps))
