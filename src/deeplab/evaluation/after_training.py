"""Evaluations that run after training (``eval_after_training``)."""

from lightning.pytorch.utilities import rank_zero_only

from deeplab.config.build_classification_data import image_folder
from deeplab.config.build_data import data_layout
from deeplab.config.parsing import file_values, validate
from deeplab.config.schema.run import ClassifierConfig, EvaluationConfig, RunConfig, TrainConfig
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.config.schema.types import to_dict
from deeplab.data.layouts.base import split_items
from deeplab.evaluation.evaluate import run_evaluation
from deeplab.tracking.run_folder import RunFolder


def check_evaluations(config: RunConfig) -> None:
    """Check before training that the splits of the evaluations exist.

    Raises:
        UserError: a split does not exist.
    """
    for split in {
        evaluation.split for evaluation in config.eval_after_training if evaluation.split
    }:
        if isinstance(config, ClassifierConfig):
            image_folder(config.data).check(split)
        elif isinstance(config, TrainConfig):
            split_items(data_layout(config.data), split)


def evaluate_after_training(config: RunConfig, folder: RunFolder) -> None:
    """Run the evaluations as ``evaluate.py`` does; finished ones are not repeated."""
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        for evaluation in config.eval_after_training:
            run_evaluation(_evaluate_config(evaluation, config, folder))


def _evaluate_config(
    evaluation: EvaluationConfig, config: RunConfig, folder: RunFolder
) -> EvaluateConfig:
    values = file_values("evaluate") | to_dict(evaluation)
    values |= {
        "run": str(folder.path),
        "data": {"root": config.data.root, "on_error": None},
        "trainer": to_dict(config.trainer) | {"devices": 1},
    }
    return validate(EvaluateConfig, values)
