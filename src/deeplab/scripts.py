"""Tasks of the scripts that have a config file, by the names of the files.

Each checks its config before it imports what takes seconds.
"""

import sys

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


def evaluate(config: DictConfig) -> None:
    """Evaluate a run."""
    from deeplab.config.schema.scripts import EvaluateConfig

    checked = parse(EvaluateConfig, config)
    from deeplab.evaluation.evaluate import run_evaluation

    run_evaluation(checked)


def predict(config: DictConfig) -> None:
    """Predict; exit with status 1 if files could not be read."""
    from deeplab.config.schema.scripts import PredictConfig

    checked = parse(PredictConfig, config)
    from deeplab.tools.predict.predict import run_prediction

    if run_prediction(checked):
        sys.exit(1)


def demo(config: DictConfig) -> None:
    """Serve a page that segments dropped images."""
    from deeplab.config.schema.scripts import DemoConfig

    checked = parse(DemoConfig, config)
    from deeplab.tools.demo.demo import run_demo

    run_demo(checked)


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


def compare(config: DictConfig) -> None:
    """Compare evaluations."""
    from deeplab.config.schema.scripts import CompareConfig

    checked = parse(CompareConfig, config)
    from deeplab.evaluation.comparison import run_comparison

    run_comparison(checked)


def gallery(config: DictConfig) -> None:
    """Write the page of an evaluation."""
    from deeplab.config.schema.scripts import GalleryConfig

    checked = parse(GalleryConfig, config)
    from deeplab.tools.gallery.gallery import run_gallery

    run_gallery(checked)


def export(config: DictConfig) -> None:
    """Export a run."""
    from deeplab.config.schema.scripts import ExportConfig

    checked = parse(ExportConfig, config)
    from deeplab.tools.export.export import run_export

    run_export(checked)


def convert(config: DictConfig) -> None:
    """Convert a checkpoint."""
    from deeplab.config.schema.scripts import ConvertConfig

    checked = parse(ConvertConfig, config)
    from deeplab.tools.convert.convert import run_conversion

    run_conversion(checked)


def cost(config: DictConfig) -> None:
    """Count and measure a network."""
    from deeplab.config.own_nodes import trust_config
    from deeplab.config.schema.scripts import CostConfig

    checked = parse(CostConfig, config)
    trust_config(checked)
    from deeplab.tools.cost.cost import run_cost

    run_cost(checked)
