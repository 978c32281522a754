"""Evaluate a trained network on whole images; see ``python src/evaluate.py --help``."""

from omegaconf import DictConfig

from deeplab.config.hydra_app import run_script
from deeplab.config.parsing import parse


def main(config: DictConfig) -> None:
    """Check the config, then evaluate."""
    from deeplab.config.schema.scripts import EvaluateConfig

    checked = parse(EvaluateConfig, config)
    from deeplab.evaluation.evaluate import run_evaluation

    run_evaluation(checked)


if __name__ == "__main__":
    run_script(main, "evaluate")
