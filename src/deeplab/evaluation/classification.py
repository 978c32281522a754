"""Errors of a trained classifier on a split, and the rank of each image's label."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from deeplab.checkpoints.hub import hub_id
from deeplab.checkpoints.loading import load_weights
from deeplab.checkpoints.trained_run import inference_execution
from deeplab.config.build_data import build_classification_data
from deeplab.config.build_model import build_classifier
from deeplab.config.schema.run import ClassifierConfig
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.data.classification.dataset import classification_example
from deeplab.data.datamodules import ClassificationData
from deeplab.data.dataset import Batch, evenly_spaced
from deeplab.data.layouts.base import describe_splits, move_data
from deeplab.evaluation.evaluation_folder import (
    EVALUATE_AGAIN,
    EvaluationFolder,
    evaluation_name,
    lock_evaluations,
    read_evaluation,
    write_ranks,
)
from deeplab.evaluation.result_files import (
    EvaluationJob,
    Identity,
    cost_record,
    working_folder,
)
from deeplab.evaluation.wandb_logging import log_evaluations
from deeplab.inference.predictor import check_finite
from deeplab.inference.strategy import Strategy
from deeplab.metrics.definitions import format_percent
from deeplab.metrics.topk import TopKErrorMetric, ranks
from deeplab.models.classifier import OUTPUT_STRIDE, Classifier
from deeplab.models.flops import measure_cost
from deeplab.tracking.console import print_skipped
from deeplab.tracking.evaluation_protocol import (
    CLASSIFIER_STRATEGY,
    crop_protocol,
)
from deeplab.tracking.result import Result, check_weights, in_percent, write_result
from deeplab.tracking.run_folder import RunFolder, read_run
from deeplab.tracking.source_code import code_record, describe_reused
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write, check_writable, file_hash
from deeplab.utils.hardware import Execution
from deeplab.utils.visualization import classification_figure

NUM_EXAMPLES = 24
"""Number of images in the example figure."""


@dataclass(frozen=True)
class ClassifierRun:
    """Run of a classifier, with the config and the weights to evaluate."""

    folder: RunFolder
    config: ClassifierConfig
    weights: Path


def find_classifier(config: EvaluateConfig) -> ClassifierRun | None:
    """Return the run that ``run=`` names if it is a classifier, else None.

    Raises:
        UserError: as in ``find_trained_run``, or a key for segmentation is set.
    """
    if hub_id(config.run, "run"):  # the hub has segmentation networks only
        return None
    folder = RunFolder.find(config.run, key="run")
    run = read_run(folder)
    if not isinstance(run, ClassifierConfig):
        return None
    weights = folder.weights_file(Path(config.run).expanduser())
    if weights is None:
        raise UserError(
            f"run={config.run}: this run has no weights and no checkpoint yet. Train it first."
        )
    check_weights(folder, weights)
    for key in ("output_stride", "window_size", "submission"):
        if getattr(config, key):
            raise UserError(
                f"{key}: this run is an image classifier, which has no {key}. Leave it out."
            )
    if config.strategies != (CLASSIFIER_STRATEGY,):
        raise UserError(
            f"strategies=[{','.join(config.strategies)}]: this run is an image classifier, which "
            f"predicts on one crop. Set strategies=[{CLASSIFIER_STRATEGY}]."
        )
    changes = {
        "val_split": config.split or run.data.val_split,
        "on_error": config.data.on_error or run.data.on_error,
        "augmentations": (),  # of training only
    }
    data = move_data(run.data, config.data.root).model_copy(update=changes)
    return ClassifierRun(folder, run.model_copy(update={"data": data}), weights)


def evaluate_classifier(run: ClassifierRun, config: EvaluateConfig) -> list[Result]:
    """Evaluate a classifier, print its errors and save them in the run folder.

    Returns:
        A list with the result of the evaluation.
    """
    execution = inference_execution(config.trainer)
    check_writable(run.folder.evaluations, f"run={config.run}")
    data = build_classification_data(run.config, num_workers=execution.num_workers)
    job = _build_job(run, data, execution)
    print(f"Weights: {run.weights}")
    print(f"Machine: {execution}")
    print("Data:    " + "\n         ".join(describe_splits(data.layout, data.val_split)))
    with lock_evaluations(run.folder.evaluations, f"run={config.run}"):
        reused = job.done and not config.overwrite
        with working_folder(run.folder.evaluations, [job]) as temporary:
            if not reused:
                show = config.trainer.enable_progress_bar
                _evaluate(job, run, data, execution, temporary, show=show)
    result = Result.read(job.folder.result, EVALUATE_AGAIN)
    errors = [f"{m.label} {format_percent(result.value(m.key))} %" for m in result.metrics]
    print(f"\n{', '.join(errors)}\n")
    print_skipped(data.skipped)
    if reused:
        print("  existing evaluation; overwrite=true runs it again")
        if other_code := describe_reused([result]):
            print(f"  {other_code}")
    print(f"  {job.folder.path}")
    if config.log_to_wandb and not reused and run.config.logger.name == "wandb":
        evaluations = [read_evaluation(job.folder.path)]
        if files := log_evaluations(run.config.logger, run.folder, evaluations):
            print(f"  W&B  offline; upload it after the training run with: wandb sync {files}")
    return [result]


def _build_job(run: ClassifierRun, data: ClassificationData, execution: Execution) -> EvaluationJob:
    folder, config, weights = run.folder, run.config, run.weights
    identity = Identity(
        run=folder.path.name,
        weights=str(weights.relative_to(folder.path.resolve())),
        weights_sha256=file_hash(weights),
        protocol=crop_protocol(
            data,
            crop_size=config.data.crop_size,
            crop_pct=config.data.crop_pct,
            precision=execution.precision,
        ),
    )
    name = evaluation_name(data.val_split, weights, CLASSIFIER_STRATEGY)
    return EvaluationJob(
        Strategy(OUTPUT_STRIDE), EvaluationFolder(folder.evaluations / name), identity
    )


def _evaluate(
    job: EvaluationJob,
    run: ClassifierRun,
    data: ClassificationData,
    execution: Execution,
    temporary: Path,
    *,
    show: bool,
) -> None:
    """Evaluate all images in one pass and write the result files; ``result.json`` last."""
    model = build_classifier(run.config, num_classes=len(data.classes))
    load_weights(model, run.weights)
    top_errors, ids, batch_ranks = TopKErrorMetric(), [], []
    example_ids, examples = set(evenly_spaced(data.val_set.ids, NUM_EXAMPLES)), []
    for batch, logits in _predict(model, data, execution, show=show):
        check_finite(logits, run.weights)
        batch_ranks.append(ranks(logits, batch["label"]))
        top_errors.update(batch_ranks[-1])
        ids += batch["image_id"]
        for i in (i for i, name in enumerate(batch["image_id"]) if name in example_ids):
            examples.append(classification_example(batch, i, int(logits[i].argmax()), data.classes))
    draft_job = job.in_folder(temporary)
    write_ranks(draft_job.folder, ids, torch.cat(batch_ranks).numpy())
    with atomic_write(draft_job.folder.examples) as draft:
        classification_figure(examples).save(draft, format="PNG")
    size = (run.config.data.crop_size, run.config.data.crop_size)
    write_result(
        draft_job.folder.result,
        **vars(job.identity),
        scored=True,
        scores=in_percent(top_errors.compute()),
        cost=cost_record(measure_cost(model.cpu(), input_size=size), size),
        skipped_files=dict(data.skipped),
        machine=vars(execution),
        **code_record(),
    )
    job.install(draft_job)


def _predict(
    model: Classifier, data: ClassificationData, execution: Execution, *, show: bool
) -> Iterator[tuple[Batch, Tensor]]:
    """Yield each batch and the logits of its images, on the CPU."""
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
