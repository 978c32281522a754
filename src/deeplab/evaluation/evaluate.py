"""Scores of a trained network on whole images, under any inference strategies in one pass."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab.checkpoints.trained_run import TrainedRun, find_trained_run, inference_execution
from deeplab.config.build_data import check_same_classes, data_layout
from deeplab.config.build_datamodule import build_datamodule, padded_to
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.data.datamodules import SegmentationData
from deeplab.data.dataset import check_ids
from deeplab.data.layouts.base import split_items
from deeplab.evaluation.classification import evaluate_classifier, find_classifier
from deeplab.evaluation.evaluation_folder import (
    EvaluationFolder,
    evaluating,
    evaluation_name,
    read_evaluation,
)
from deeplab.evaluation.loop import measure
from deeplab.evaluation.result_files import Task
from deeplab.evaluation.submission import Kind, check_submission, write_submission
from deeplab.evaluation.wandb_logging import publish_evaluations
from deeplab.tracking.console import print_comparison, print_skipped, quiet
from deeplab.tracking.protocol import protocol
from deeplab.tracking.run_folder import read_json
from deeplab.utils.errors import UserError
from deeplab.utils.files import file_hash
from deeplab.utils.hardware import Execution

Pixels = NDArray[np.uint8]


def run_evaluation(config: EvaluateConfig) -> list[dict[str, Any]]:
    """Evaluate a run, print the scores and keep them in the run's folder.

    Returns:
        The record of each strategy, in the order asked for.
    """
    quiet()
    if classifier := find_classifier(config):
        return evaluate_classifier(classifier, config)
    trained = find_trained_run(config.run, progress=config.trainer.enable_progress_bar)
    trained = replace(trained, config=_as_asked(trained.config, config))
    execution = inference_execution(config.trainer)
    data = _build_data(trained.config, execution)
    if config.submission:
        check_submission(config.submission, data.classes)
    tasks = _tasks(trained, config, data, execution)
    print(f"Weights: {trained.weights}")
    print(f"Machine: {execution}")
    with evaluating(trained.folder.evaluations, f"run={config.run}"):
        todo = tasks if config.overwrite else [task for task in tasks if not task.done]
        if todo:
            measure(todo, trained, config, data, execution)
    records = [read_json(task.folder.result) for task in tasks]
    print_comparison(records)
    print_skipped(data.skipped)
    if len(todo) < len(tasks):
        print(
            f"  {len(tasks) - len(todo)} of these were there already; overwrite=true does them anew"
        )
    width = max(len(task.strategy.name) for task in tasks)
    for task in tasks:
        print(f"  {task.strategy.name:<{width}}  {task.folder.path}")
        if config.submission:
            _export(config.submission, task, data, progress=config.trainer.enable_progress_bar)
    if config.log_to_wandb and todo:
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
    items = split_items(layout, run.data.val_split)
    check_ids(run.data.val_split, [item.id for item in items])
    labeled = any(item.mask.is_file() for item in items)
    return build_datamodule(run, layout, num_workers=execution.num_workers, val_labeled=labeled)


def _tasks(
    trained: TrainedRun, config: EvaluateConfig, data: SegmentationData, execution: Execution
) -> list[Task]:
    folder, run, weights = trained.folder, trained.config, trained.weights
    strategies = trained.strategies(
        config.strategies, window=config.window_size, overlap=config.overlap, key="strategies"
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
            "band_widths": list(config.trimap_widths),
            **({"save_predictions": True} if config.save_predictions else {}),
            **({"measured": True} if config.measure_speed else {}),
        }
        name = evaluation_name(data.val_split, weights, strategy.name)
        target = EvaluationFolder(folder.evaluations / name)
        tasks.append(Task(strategy, target, stamp))
    return tasks


def _publish(trained: TrainedRun, tasks: Sequence[Task]) -> None:
    """To the W&B run of the training, if there is one."""
    if trained.config.logger.name != "wandb":
        return
    evaluations = [read_evaluation(task.folder.path) for task in tasks]
    files = publish_evaluations(trained.config.logger, trained.folder, evaluations)
    if files:
        print(f"  W&B           offline; upload it behind the training with: wandb sync {files}")


def _as_asked(run: TrainConfig, config: EvaluateConfig) -> TrainConfig:
    """The run's config with the output stride, split and place of the images that were named."""
    if config.data.root and not Path(config.data.root).expanduser().is_dir():
        raise UserError(f"data.root={config.data.root}: this folder does not exist.")
    data = run.data.model_copy(
        update={
            "val_split": config.split or run.data.val_split,
            "root": config.data.root or run.data.root,
            "on_error": config.data.on_error or run.data.on_error,
        }
    )
    if config.data.root:
        check_same_classes(run.data, config.data.root)
    output_stride = config.output_stride or run.output_stride
    return run.model_copy(update={"data": data, "output_stride": output_stride})
