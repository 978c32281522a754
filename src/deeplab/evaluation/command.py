"""Scores of a trained network on whole images, under any inference strategies in one pass."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from deeplab.assemble import build_data, padded_to
from deeplab.config import EvaluateConfig, TrainConfig
from deeplab.cores import cores
from deeplab.cost.speed import Speed, measure_speed
from deeplab.data.datamodule import SegmentationData
from deeplab.data.dataset import spread
from deeplab.data.labels import write_mask
from deeplab.data.layout import split_items
from deeplab.datasets import data_layout
from deeplab.errors import UserError
from deeplab.evaluation.folder import EvaluationFolder, evaluation_name, read_evaluation
from deeplab.evaluation.progress import Predicted, Progress
from deeplab.evaluation.publish import publish_evaluations
from deeplab.evaluation.recording import Task, paint_examples, write_result
from deeplab.evaluation.scoring import ImageScore, Tally, score_image
from deeplab.evaluation.submission import Kind, write_submission
from deeplab.hardware import Execution
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Strategy
from deeplab.meanwhile import meanwhile
from deeplab.protocol import protocol
from deeplab.records import file_hash, read_json
from deeplab.results import print_comparison, print_skipped, quiet
from deeplab.trained import Trained, find_trained, inference_execution

Pixels = NDArray[np.uint8]

EXAMPLES = 6
"""Images that are painted."""


def run_evaluation(config: EvaluateConfig) -> list[dict[str, Any]]:
    """Evaluate a run, print the scores and keep them in the run's folder.

    Returns:
        The record of each strategy, in the order asked for.
    """
    quiet()
    trained = find_trained(config.run)
    trained = replace(trained, config=_as_asked(trained.config, config))
    execution = inference_execution(config.trainer)
    data = _build_data(trained.config, execution)
    tasks = _tasks(trained, config, data, execution)
    todo = tasks if config.again else [task for task in tasks if not task.done]
    print(f"Weights: {trained.weights}")
    print(f"Machine: {execution}")
    if todo:
        _measure(todo, trained, config, data, execution)
    records = [read_json(task.folder.result) for task in tasks]
    print_comparison(records)
    print_skipped(data.skipped)
    if len(todo) < len(tasks):
        print(f"  {len(tasks) - len(todo)} of these were there already; again=true does them anew")
    for task in tasks:
        print(f"  {task.strategy.name:<12}  {task.folder.path}")
        if config.export:
            _export(config.export, task, data, progress=config.trainer.progress)
    if config.publish and todo:
        _publish(trained, todo)
    return records


def _export(kind: Kind, task: Task, data: SegmentationData, *, progress: bool) -> None:
    """For a test server; bad files that were passed over have no prediction and are an error."""
    archive = write_submission(
        kind,
        task.folder,
        data.val_set.items,
        data.classes,
        split=data.val_split,
        progress=progress,
    )
    print(f"  for the server  {archive} ({len(data.val_set)} images, checked)")


def _build_data(run: TrainConfig, execution: Execution) -> SegmentationData:
    layout = data_layout(run.data)
    labelled = any(item.mask.is_file() for item in split_items(layout, run.data.val_split))
    return build_data(run, layout, workers=execution.workers, val_labelled=labelled)


def _tasks(
    trained: Trained, config: EvaluateConfig, data: SegmentationData, execution: Execution
) -> list[Task]:
    folder, run, weights = trained.folder, trained.config, trained.weights
    strategies = trained.strategies(
        config.strategies, window=config.window, overlap=config.overlap, key="strategies"
    )
    content, sha = data.val_set.content(), file_hash(weights)
    tasks = []
    for strategy in strategies:
        stamp = {
            "run": folder.path.name,
            "weights": str(weights.relative_to(folder.path)),
            "weights_sha256": sha,
            "protocol": protocol(
                split=data.val_split,
                images=len(data.val_set),
                content=content,
                classes=run.data.classes,
                padded_to=padded_to(run.data),
                strategy=strategy,
                precision=execution.precision,
            ),
            "band_widths": list(config.bands),
            **({"predictions": True} if config.predictions else {}),
            **({"measured": True} if config.measure else {}),
        }
        name = evaluation_name(data.val_split, weights, strategy.name)
        target = EvaluationFolder(folder.evaluations / name)
        tasks.append(Task(strategy, target, stamp))
    return tasks


def _measure(
    tasks: list[Task],
    trained: Trained,
    config: EvaluateConfig,
    data: SegmentationData,
    execution: Execution,
) -> None:
    """One pass over the images for all tasks, and their files."""
    classes = len(trained.config.data.classes)
    strategies = [task.strategy for task in tasks]
    predictor = trained.predictor(strategies, execution, key="strategies")
    for task in tasks:
        task.folder.result.unlink(missing_ok=True)  # it stands for files that change now
    progress = Progress(
        trained.folder.evaluations,
        [task.stamp for task in tasks],
        [Tally(classes=classes, widths=config.bands) for _ in tasks],
        painted=spread(data.val_set.ids, EXAMPLES),
        anew=config.again,
        skipped=data.skipped,
    )
    if progress.images:
        print(f"Goes on: {progress.images} of {len(data.val_set)} images were done before")

    def score(image: Predicted) -> list[ImageScore]:
        if image.skipped:
            return []
        if config.predictions:
            for task, label in zip(tasks, image.maps, strict=True):
                write_mask(task.folder.prediction(image.id), label, data.classes.palette)
        return score_image(image.truth, image.maps, classes=classes, widths=config.bands)

    images = _predicted(
        predictor, data, execution, first=progress.images, show=config.trainer.progress
    )
    for (image,), scored in meanwhile(
        score, ((image,) for image in images), threads=cores(), waiting=4 * cores()
    ):
        progress.add(image, scored)
    for i, (task, tally) in enumerate(zip(tasks, progress.tallies, strict=True)):
        examples = {k: labels[i] for k, labels in progress.painted.items() if labels}
        paint_examples(task, data, examples)
        speed = _speed(task.strategy, trained, execution) if config.measure else None
        write_result(task, tally, trained.config, data, execution, speed)
    progress.remove()


def _speed(strategy: Strategy, trained: Trained, execution: Execution) -> Speed:
    """On this machine, at the size that images are padded to."""
    return measure_speed(
        trained.predictor([strategy], execution, key="strategies"),
        input_size=padded_to(trained.config.data),
        device=execution.accelerator,
        dtype=execution.autocast_dtype,
    )


def _publish(trained: Trained, tasks: Sequence[Task]) -> None:
    """To the W&B run of the training, if there is one."""
    if trained.config.logger.name != "wandb":
        return
    evaluations = [read_evaluation(task.folder.path) for task in tasks]
    files = publish_evaluations(trained.config.logger, trained.folder, evaluations)
    if files:
        print(f"  W&B           offline; upload it behind the training with: wandb sync {files}")


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


def _as_asked(run: TrainConfig, config: EvaluateConfig) -> TrainConfig:
    """The run's config with the output stride, split and place of the images that were named."""
    if config.data.root and not Path(config.data.root).expanduser().is_dir():
        raise UserError(f"data.root={config.data.root}: this folder does not exist.")
    data = run.data.model_copy(
        update={
            "val_split": config.split or run.data.val_split,
            "root": config.data.root or run.data.root,
        }
    )
    output_stride = config.output_stride or run.output_stride
    return run.model_copy(update={"data": data, "output_stride": output_stride})
