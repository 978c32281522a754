"""Errors of a trained classifier on a split, and the rank of each picture's label."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from deeplab.checkpoints.hub import hub_id
from deeplab.checkpoints.loading import load_weights
from deeplab.checkpoints.trained_run import inference_execution
from deeplab.config.build_classification_data import build_classification_data, labeled
from deeplab.config.build_model import build_classifier
from deeplab.config.schema.run import ClassifierConfig
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.data.classification.dataset import Batch, ClassificationData
from deeplab.data.dataset import spread
from deeplab.evaluation.evaluation_folder import (
    EvaluationFolder,
    evaluating,
    evaluation_name,
    read_evaluation,
    write_ranks,
)
from deeplab.evaluation.result_files import Task
from deeplab.evaluation.wandb_logging import publish_evaluations
from deeplab.inference.strategy import Strategy
from deeplab.metrics.topk import TopErrors, ranks
from deeplab.models.classifier import OUTPUT_STRIDE, Classifier
from deeplab.models.flops import measure_cost
from deeplab.tracking.console import error_report, percent, print_skipped
from deeplab.tracking.protocol import ONE_CROP, crop_protocol
from deeplab.tracking.provenance import provenance
from deeplab.tracking.run_folder import RunFolder, read_json, read_run
from deeplab.tracking.schema_version import VERSION_STAMP
from deeplab.utils.errors import UserError
from deeplab.utils.files import file_hash, replacing, write_json
from deeplab.utils.hardware import Execution
from deeplab.utils.visualization import label_sheet

EXAMPLES = 24
"""Pictures that are painted."""


@dataclass(frozen=True)
class Evaluated:
    """A classifier's run, as it is to be evaluated."""

    folder: RunFolder
    config: ClassifierConfig
    weights: Path


def find_classifier(config: EvaluateConfig) -> Evaluated | None:
    """The run that ``run=`` names, if it is a classifier's.

    Raises:
        UserError: as ``find_trained_run`` does, or a key is set that is about segmentation.
    """
    if hub_id(config.run):  # where there are segmentation networks only
        return None
    folder = RunFolder.find(config.run, key="run")
    run = read_run(folder)
    if not isinstance(run, ClassifierConfig):
        return None
    weights = folder.weights_file(Path(config.run).expanduser())
    if weights is None:
        raise UserError(f"run={config.run}: this run has neither weights nor a checkpoint yet.")
    for key in ("output_stride", "window_size", "submission"):
        if getattr(config, key):
            raise UserError(f"{key}: this run is a classifier of whole pictures, which has none.")
    if config.strategies != (ONE_CROP,):
        raise UserError(
            f"strategies=[{','.join(config.strategies)}]: this run is a classifier, which looks at "
            f"one crop: strategies=[{ONE_CROP}]"
        )
    changes = {
        "val_split": config.split or run.data.val_split,
        "root": config.data.root or run.data.root,
        "on_error": config.data.on_error or run.data.on_error,
    }
    return Evaluated(
        folder, run.model_copy(update={"data": run.data.model_copy(update=changes)}), weights
    )


def evaluate_classifier(found: Evaluated, config: EvaluateConfig) -> list[dict[str, Any]]:
    """Evaluate, print the errors and keep them in the run's folder; returns the record."""
    execution = inference_execution(config.trainer)
    data = build_classification_data(found.config, num_workers=execution.num_workers)
    task = _task(found, data, execution)
    print(f"Weights: {found.weights}")
    print(f"Machine: {execution}")
    with evaluating(found.folder.evaluations, f"run={config.run}"):
        there = task.done and not config.overwrite
        if not there:
            _measure(task, found, data, execution, show=config.trainer.enable_progress_bar)
    record = read_json(task.folder.result)
    errors = [percent(record[f"top{k}_error"]) for k in (1, 5)]
    print(f"\ntop-1 error {errors[0]} %, top-5 error {errors[1]} %\n")
    print_skipped(data.skipped)
    if there:
        print("  it was there already; overwrite=true does it anew")
    print(f"  {task.folder.path}")
    if config.log_to_wandb and not there and found.config.logger.name == "wandb":
        made = [read_evaluation(task.folder.path)]
        if files := publish_evaluations(found.config.logger, found.folder, made):
            print(f"  W&B  offline; upload it behind the training with: wandb sync {files}")
    return [record]


def _task(found: Evaluated, data: ClassificationData, execution: Execution) -> Task:
    folder, run, weights = found.folder, found.config, found.weights
    stamp = {
        "run": folder.path.name,
        "weights": str(weights.relative_to(folder.path.resolve())),
        "weights_sha256": file_hash(weights),
        "protocol": crop_protocol(
            split=data.val_split,
            images=len(data.val_set),
            content=data.val_set.content(),
            classes=data.classes,
            crop_size=run.data.crop_size,
            part=run.data.crop_pct,
            precision=execution.precision,
        ),
    }
    name = evaluation_name(data.val_split, weights, ONE_CROP)
    return Task(Strategy(OUTPUT_STRIDE), EvaluationFolder(folder.evaluations / name), stamp)


def _measure(
    task: Task, found: Evaluated, data: ClassificationData, execution: Execution, *, show: bool
) -> None:
    """One pass over the pictures, and the files of the result; ``result.json`` last."""
    model = build_classifier(found.config, num_classes=len(data.classes))
    load_weights(model, found.weights)
    tally, ids, places = TopErrors(), [], []
    shown, examples = set(spread(data.val_set.ids, EXAMPLES)), []
    for batch, logits in _looked_at(model, data, execution, show=show):
        places.append(ranks(logits, batch["label"]))
        tally.update(places[-1])
        ids += batch["image_id"]
        for i in (i for i, name in enumerate(batch["image_id"]) if name in shown):
            examples.append(labeled(batch, i, int(logits[i].argmax()), data.classes))
    made = found.folder.evaluations / f".unfinished-{task.folder.path.name}"
    shutil.rmtree(made, ignore_errors=True)
    working = task.made_in(made)
    write_ranks(working.folder, ids, torch.cat(places).numpy())
    with replacing(working.folder.examples) as draft:
        label_sheet(examples).save(draft, format="PNG")
    record = {
        **VERSION_STAMP,
        **task.stamp,
        "scored": True,
        **error_report(tally.compute()),
        "cost": _cost(model, found.config.data.crop_size),
        "skipped_files": dict(data.skipped),
        "machine": vars(execution),
        **provenance(),
    }
    write_json(working.folder.result, record)
    task.take(working)
    made.rmdir()


def _looked_at(
    model: Classifier, data: ClassificationData, execution: Execution, *, show: bool
) -> Iterator[tuple[Batch, Tensor]]:
    """Each batch and the logits of its pictures, on the CPU."""
    device, dtype = execution.accelerator, execution.autocast_dtype
    model.eval().to(device)
    with tqdm(total=len(data.val_set), desc="Evaluating", unit="img", disable=not show) as bar:
        for batch in data.val_dataloader():
            data.on_before_batch_transfer(batch, 0)
            images = batch["image"].to(device, non_blocking=True)
            with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype is not None):
                logits: Tensor = model(images)
            yield batch, logits.cpu()
            bar.update(len(images))


def _cost(model: Classifier, size: int) -> dict[str, Any]:
    cost = measure_cost(model.cpu(), input_size=(size, size))
    return {
        "parameters": cost.trainable,
        "multiply_adds": {"conv": cost.conv, "paper": cost.paper},
        "input_size": [size, size],
        "measured": None,
    }
