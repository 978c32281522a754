"""Evaluations that run after training (``strategies``)."""

from typing import Any

from deeplab.config.hydra_app import in_sweep
from deeplab.config.schema.run import RunConfig
from deeplab.config.schema.scripts import EvaluateConfig, EvaluationDataConfig
from deeplab.data.layouts.base import open_layout
from deeplab.evaluation.evaluate import run_evaluation
from deeplab.tracking.run_folder import RunFolder
from deeplab.utils.parallel import is_first_process


def check_evaluations(config: RunConfig) -> None:
    """Check before training that the splits of the evaluations exist.

    Raises:
        UserError: a split does not exist.
    """
    for split in {evaluation.split for evaluation in config.strategies if evaluation.split}:
        open_layout(config.data.model_copy(update={"val_split": split})).check_split(split)


def evaluate_after_training(config: RunConfig, folder: RunFolder) -> None:
    """Run the evaluations as ``deeplab evaluate`` does; finished ones are not repeated."""
    if not is_first_process():
        return
    strategies: dict[tuple[Any, Any], list[str]] = {}
    for evaluation in config.strategies:  # those of a split share their forward passes
        key = (evaluation.split, evaluation.submission)
        strategies.setdefault(key, []).append(evaluation.strategy)
    for (split, submission), names in strategies.items():
        run_evaluation(
            EvaluateConfig(
                run=str(folder.path),
                strategies=tuple(names),
                split=split,
                submission=submission,
                data=EvaluationDataConfig(root=config.data.root),
                trainer=config.trainer.for_inference(),
            ),
            brief=in_sweep(),
        )
