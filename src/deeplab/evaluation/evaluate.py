"""Evaluation of a trained network on a split, under several inference strategies in one pass."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeplab.checkpoints.trained_run import TrainedRun, find_trained_run, inference_execution
from deeplab.config.build_data import build_segmentation_data
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.data.datamodules import SegmentationData
from deeplab.data.dataset import check_ids
from deeplab.data.layouts.base import data_layout, describe_splits, move_data, split_items
from deeplab.evaluation.classification import evaluate_classifier, find_classifier
from deeplab.evaluation.evaluation_folder import (
    EVALUATE_AGAIN,
    EvaluationFolder,
    evaluation_name,
    lock_evaluations,
    read_evaluation,
)
from deeplab.evaluation.loop import evaluate_strategies
from deeplab.evaluation.result_files import EvaluationJob, Identity, working_folder
from deeplab.evaluation.submission import Kind, check_submission, write_submission
from deeplab.evaluation.wandb_logging import log_evaluations
from deeplab.metrics.boundary import find_bands
from deeplab.tracking.console import print_comparison, print_skipped, silence_library_messages
from deeplab.tracking.evaluation_protocol import segmentation_protocol
from deeplab.tracking.result import Result
from deeplab.tracking.source_code import describe_reused
from deeplab.utils.files import check_writable, file_hash
from deeplab.utils.hardware import Execution

Pixels = NDArray[np.uint8]


def run_evaluation(config: EvaluateConfig) -> list[Result]:
    """Evaluate a run, print the scores and save them in the run folder.

    Returns:
        The result of each strategy, in the order of ``config.strategies``.
    """
    silence_library_messages()
    if classifier := find_classifier(config):
        return evaluate_classifier(classifier, config)
    trained = find_trained_run(config.run, progress=config.trainer.enable_progress_bar)
    trained = replace(trained, config=_override_config(trained.config, config))
    execution = inference_execution(config.trainer)
    check_writable(trained.folder.evaluations, f"run={config.run}")
    data = _build_data(trained.config, execution)
    if config.submission:
        check_submission(config.submission, data.classes)
    jobs = _build_jobs(trained, config, data, execution)
    print(f"Weights: {trained.weights}")
    print(f"Machine: {execution}")
    print("Data:    " + "\n         ".join(describe_splits(data.layout, data.val_split)))
    with lock_evaluations(trained.folder.evaluations, f"run={config.run}"):
        todo = jobs if config.overwrite else [job for job in jobs if not job.done]
        with working_folder(trained.folder.evaluations, jobs) as temporary:
            if todo:
                evaluate_strategies(todo, temporary, trained, config, data, execution)
    results = [Result.read(job.folder.result, EVALUATE_AGAIN) for job in jobs]
    print_comparison(results)
    print_skipped(data.skipped)
    if len(todo) < len(jobs):
        existing = len(jobs) - len(todo)
        print(f"  {existing} of {len(jobs)} existed already; overwrite=true runs them again")
        reused = [r for job, r in zip(jobs, results, strict=True) if job not in todo]
        if other_code := describe_reused(reused):
            print(f"  {other_code}")
    width = max(len(job.strategy.name) for job in jobs)
    for job in jobs:
        print(f"  {job.strategy.name:<{width}}  {job.folder.path}")
        if config.submission:
            _pack(config.submission, job, data, progress=config.trainer.enable_progress_bar)
    if config.log_to_wandb and todo:
        _log_to_wandb(trained, todo)
    return results


def _pack(kind: Kind, job: EvaluationJob, data: SegmentationData, *, progress: bool) -> None:
    """Write the archive for a test server.

    Skipped bad files have no prediction, which is an error here.
    """
    archive = write_submission(
        kind,
        job.folder,
        data.val_set.items,
        data.classes,
        split=data.val_split,
        progress=progress,
    )
    print(f"  submission  {archive} ({len(data.val_set)} images, checked)")


def _build_data(run: TrainConfig, execution: Execution) -> SegmentationData:
    items = split_items(data_layout(run.data), run.data.val_split)
    check_ids(run.data.val_split, [item.id for item in items])
    labeled = any(os.path.isfile(item.mask) for item in items)  # noqa: PTH113  names may be too long
    data = build_segmentation_data(run, num_workers=execution.num_workers, val_labeled=labeled)
    data.check_eval_batches()
    return data


def _build_jobs(
    trained: TrainedRun, config: EvaluateConfig, data: SegmentationData, execution: Execution
) -> list[EvaluationJob]:
    folder, run, weights = trained.folder, trained.config, trained.weights
    strategies = trained.strategies(
        config.strategies, window=config.window_size, overlap=config.overlap, key="strategies"
    )
    content, weights_hash = data.val_set.content_hash(), file_hash(weights)
    root = config.data.root
    data_root = str(Path(root).expanduser().absolute()) if root else None
    bands = find_bands(data.val_set.sample_labels()) if data.val_labeled else None
    jobs = []
    for strategy in strategies:
        identity = Identity(
            run=folder.path.name,
            weights=str(weights.relative_to(folder.path)),
            weights_sha256=weights_hash,
            protocol=segmentation_protocol(
                data,
                strategy,
                content=content,
                padded_to=run.data.padded_size,
                precision=execution.precision,
                bands=bands,
            ),
            band_widths=config.trimap_widths,
            save_predictions=config.save_predictions,
            measured=config.measure_speed,
        )
        name = evaluation_name(data.val_split, weights, strategy.name)
        path = EvaluationFolder(folder.evaluations / name)
        jobs.append(EvaluationJob(strategy, path, identity, data_root))
    return jobs


def _log_to_wandb(trained: TrainedRun, jobs: Sequence[EvaluationJob]) -> None:
    """Add the evaluations to the W&B run of the training run, if it has one."""
    if trained.config.logger.name != "wandb":
        return
    evaluations = [read_evaluation(job.folder.path) for job in jobs]
    files = log_evaluations(trained.config.logger, trained.folder, evaluations)
    if files:
        print(f"  W&B         offline; upload it after the training run with: wandb sync {files}")


def _override_config(run: TrainConfig, config: EvaluateConfig) -> TrainConfig:
    """Return the run's config with the output stride, split and data of the evaluation."""
    data = move_data(run.data, config.data.root).model_copy(
        update={
            "val_split": config.split or run.data.val_split,
            "on_error": config.data.on_error or run.data.on_error,
            "augmentations": (),  # of training only
        }
    )
    output_stride = config.output_stride or run.output_stride
    return run.model_copy(update={"data": data, "output_stride": output_stride})
