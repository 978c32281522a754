"""Evaluations that run after training (``eval_after_training``)."""

from deeplab.config.schema.run import EvaluationSettings, RunConfig
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
    for split in {
        evaluation.split for evaluation in config.eval_after_training if evaluation.split
    }:
        open_layout(config.data.model_copy(update={"val_split": split})).check_split(split)


def evaluate_after_training(config: RunConfig, folder: RunFolder) -> None:
    """Run the evaluations as ``evaluate.py`` does; finished ones are not repeated."""
    if is_first_process():
        for evaluation in config.eval_after_training:
            run_evaluation(_evaluate_config(evaluation, config, folder))


def _evaluate_config(
    evaluation: EvaluationSettings, config: RunConfig, folder: RunFolder
) -> EvaluateConfig:
    return EvaluateConfig(
        run=str(folder.path),
        data=EvaluationDataConfig(root=config.data.root),
        trainer=config.trainer.for_inference().model_copy(update={"devices": 1}),
        **dict(evaluation),
    )
