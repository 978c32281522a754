"""Tasks of the scripts that have a config file, by the names of the files.

Each checks its config before it imports what takes seconds.
"""

import sys
from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import Any

from omegaconf import DictConfig, open_dict

from deeplab.config.parsing import parse


def train(config: DictConfig) -> float:
    """Train and run the evaluations; return the score that sweepers optimize."""
    from deeplab.training.validate_config import check_train

    checked = check_train(config)
    from deeplab.training.launch import report_score, run_in_subprocess_if_needed

    score = run_in_subprocess_if_needed(checked.trainer)
    if score is not None:
        return score
    from deeplab.evaluation.after_training import check_evaluations, evaluate_after_training
    from deeplab.evaluation.wandb_logging import report_to_agent
    from deeplab.training.train import check_machine, run_experiment
    from deeplab.utils.parallel import is_first_process

    check_machine(checked)
    check_evaluations(checked)
    folder = run_experiment(checked)
    if is_first_process():
        report_to_agent(checked.logger, folder)
    evaluate_after_training(checked, folder)
    return report_score(folder, checked.objective)


def tune(config: DictConfig) -> None:
    """Search for a learning rate or a batch size."""
    from deeplab.config.schema.scripts import TuneSettings
    from deeplab.training.validate_config import check_train

    values = {key: config[key] for key in TuneSettings.model_fields}
    settings = parse(TuneSettings, DictConfig(values))
    with open_dict(config):
        for key in values:
            del config[key]
    checked = check_train(config)
    from deeplab.training.tune import run_tuning

    run_tuning(checked, settings)


def predict(config: DictConfig) -> None:
    """Predict; exit with status 1 if files could not be read."""
    from deeplab.config.schema.scripts import PredictConfig
    from deeplab.tools.predict.files import check_inputs

    checked = parse(PredictConfig, config)
    check_inputs(checked.input)
    from deeplab.tools.predict.predict import run_prediction

    if run_prediction(checked):
        sys.exit(1)


def prepare(config: DictConfig) -> None:
    """Prepare or check a data set."""
    from deeplab.config.schema.run import has_labels
    from deeplab.config.schema.scripts import PrepareClassificationConfig, PrepareConfig
    from deeplab.data.layouts.own_settings import OwnDataSettings
    from deeplab.utils.constants import TARGET
    from deeplab.utils.errors import UserError

    if has_labels(config.data.name):
        classification = parse(PrepareClassificationConfig, config)
        from deeplab.preparation.run_doctor import prepare_classification_data

        prepare_classification_data(classification)
        return
    checked = parse(PrepareConfig, config)
    if isinstance(checked.data, OwnDataSettings):
        raise UserError(
            f"data.{TARGET}={checked.data.target}: a dataset of your own has no files to prepare "
            "or to check. Training checks its samples."
        )
    if checked.check:
        from deeplab.preparation.run_doctor import run_check

        run_check(checked)
    else:
        from deeplab.preparation.prepare import run_preparation

        run_preparation(checked)


def cost(config: DictConfig) -> None:
    """Count and measure a network."""
    from deeplab.config.own_nodes import trust_config
    from deeplab.config.schema.scripts import CostConfig

    checked = parse(CostConfig, config)
    trust_config(checked)
    from deeplab.tools.cost.cost import run_cost

    run_cost(checked)


RUNNERS = {
    "evaluate": "deeplab.evaluation.evaluate:run_evaluation",
    "demo": "deeplab.tools.demo.demo:run_demo",
    "compare": "deeplab.evaluation.comparison:run_comparison",
    "gallery": "deeplab.tools.gallery.gallery:run_gallery",
    "export": "deeplab.tools.export.export:run_export",
    "convert": "deeplab.tools.convert.convert:run_conversion",
}
"""Functions that take the checked config of a script, and are all that it does."""


def _run(name: str, config: DictConfig) -> None:
    """Check the config of a script and run its function with it."""
    from deeplab.config.schema.groups import SCRIPTS

    (schema,) = SCRIPTS[name]
    checked = parse(schema, config)
    resolve_name(RUNNERS[name])(checked)


TASKS: dict[str, Callable[[DictConfig], Any]] = {
    **{name: partial(_run, name) for name in RUNNERS},
    "train": train,
    "tune": tune,
    "predict": predict,
    "prepare": prepare,
    "cost": cost,
}
"""Tasks of the scripts by their names."""
