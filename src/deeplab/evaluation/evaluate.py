"""Evaluation of a trained network on a split, under several inference strategies in one pass."""

from collections.abc import Sequence

from deeplab.checkpoints.trained_run import describe_weights
from deeplab.config.hydra_app import in_sweep
from deeplab.config.overrides import typed_override
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.data.layouts.base import check_drawn_split, describe_splits, open_layout
from deeplab.data.settings import SyntheticSettings
from deeplab.evaluation.classification import ClassifierEvaluation
from deeplab.evaluation.evaluation_folder import (
    EVALUATE_AGAIN,
    lock_evaluations,
    read_evaluation,
)
from deeplab.evaluation.jobs import EvaluationJob, working_folder
from deeplab.evaluation.loop import evaluate_jobs
from deeplab.evaluation.segmentation import SegmentationEvaluation
from deeplab.evaluation.task import EvaluationTask
from deeplab.evaluation.wandb_logging import log_evaluations
from deeplab.tracking.console import print_skipped, silence_library_messages
from deeplab.tracking.result import Result
from deeplab.tracking.source_code import describe_reused
from deeplab.tracking.wandb_run import OFFLINE_RUNS
from deeplab.utils.files import check_writable
from deeplab.utils.links import check_links
from deeplab.utils.paths import short_path
from deeplab.utils.program import command, script_name
from deeplab.utils.text import print_folded


def check_evaluation(config: EvaluateConfig) -> None:
    """Check that a run and the split to evaluate exist, before any job of a sweep.

    Raises:
        UserError: they do not, or results cannot be written.
    """
    task = find_task(config)
    data = task.run.data
    if isinstance(data, SyntheticSettings):  # may not be drawn yet
        for split in data.val_split.split("+"):
            check_drawn_split(split, data.name)
    else:
        open_layout(data).check_split(data.val_split)


def run_evaluation(config: EvaluateConfig, *, brief: bool = False) -> list[Result]:
    """Evaluate a run, print the scores and save them in the run folder.

    Args:
        config: keys of ``conf/evaluate.yaml``.
        brief: print a line for each strategy, with its main score only.

    Returns:
        The result of each strategy, in the order of ``config.strategies``.
    """
    silence_library_messages()
    task = find_task(config)
    evaluations, setting = task.folder.evaluations, f"run={config.run}"
    task.open_data()
    jobs = task.jobs()
    if not brief:
        data = describe_splits(task.data.layout, task.data.val_split)
        weights = describe_weights(task.folder, task.weights, task.run.stage.max_steps)
        print_folded("Weights: " + "\n         ".join(weights))
        print_folded(f"Machine: {task.execution}")
        print_folded("Data:    " + "\n         ".join(data))
    with lock_evaluations(evaluations, setting):
        todo = jobs if config.overwrite else [job for job in jobs if not job.done]
        with working_folder(evaluations, jobs) as temporary:
            if todo:
                with task.execution.threads():
                    evaluate_jobs(task, todo, temporary)
    results = [Result.read(job.folder.result, EVALUATE_AGAIN) for job in jobs]
    if brief:
        for result in results:
            print(f"            {result.protocol.strategy.name}: {result.format_main_score()}")
    else:
        task.print_scores(results)
    print_skipped(task.data.skipped)
    if len(todo) < len(jobs) and not brief:
        existing = len(jobs) - len(todo)
        print(f"  {existing} of {len(jobs)} existed already; overwrite=true runs them again")
        reused = [r for job, r in zip(jobs, results, strict=True) if job not in todo]
        if other_code := describe_reused(reused):
            print(f"  {other_code}")
    for job in jobs:
        if not brief:
            print(f"  {short_path(job.folder.path)}")
        if isinstance(task, SegmentationEvaluation):
            task.pack(job)
    if config.log_to_wandb and todo:
        _log_to_wandb(task, todo)
    if script_name() == "evaluate" and isinstance(task, SegmentationEvaluation):
        run = typed_override("run", short_path(task.folder.path))
        print(f"Next: {command('gallery')} {run}")
    return results


def find_task(config: EvaluateConfig) -> EvaluationTask:
    """Return the evaluation of the run that ``run=`` names.

    Raises:
        UserError: there is no such run, or results cannot be written.
    """
    task = ClassifierEvaluation.find(config) or SegmentationEvaluation.find(config)
    check_links(task.folder.path)  # first: the next line tries to write through them
    check_writable(task.folder.evaluations, f"run={config.run}")
    return task


def _log_to_wandb(task: EvaluationTask, jobs: Sequence[EvaluationJob]) -> None:
    """Add the evaluations to the W&B run of the training run, if it has one."""
    if task.run.logger.name != "wandb":
        return
    evaluations = [read_evaluation(job.folder.path) for job in jobs]
    offline = log_evaluations(task.run.logger, task.folder, evaluations)
    if offline and not in_sweep():  # a sweep says it once
        print(f"  W&B         offline; upload it with: wandb sync {offline.parent}/{OFFLINE_RUNS}")
