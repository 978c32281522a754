"""The evaluations that a training was asked to end with."""

from lightning.pytorch.utilities import rank_zero_only

from deeplab.config.build_classification_data import image_folder
from deeplab.config.build_data import data_layout
from deeplab.config.parsing import file_values, validate
from deeplab.config.schema.run import ClassifierConfig, EvaluationConfig, RunConfig, TrainConfig
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.config.schema.types import plain
from deeplab.data.layouts.base import split_items
from deeplab.evaluation.evaluate import run_evaluation
from deeplab.tracking.run_folder import RunFolder


def check_evaluations(config: RunConfig) -> None:
    """SeedResult up the splits before the training starts.

    Raises:
        UserError: there is no such split.
    """
    for split in {asked.split for asked in config.eval_after_training if asked.split}:
        if isinstance(config, ClassifierConfig):
            image_folder(config.data).check(split)
        elif isinstance(config, TrainConfig):
            split_items(data_layout(config.data), split)


def evaluate_trained(config: RunConfig, folder: RunFolder) -> None:
    """Do them, as ``evaluate.py`` does; what is there already is not done again."""
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        for asked in config.eval_after_training:
            run_evaluation(_as_typed(asked, config, folder))


def _as_typed(asked: EvaluationConfig, config: RunConfig, folder: RunFolder) -> EvaluateConfig:
    values = file_values("evaluate") | plain(asked)
    values |= {
        "run": str(folder.path),
        "data": {"root": config.data.root, "on_error": None},
        "trainer": plain(config.trainer) | {"devices": 1},
    }
    return validate(EvaluateConfig, values)
