"""Evaluate a trained network on whole images; see ``conf/evaluate.yaml``."""

from omegaconf import DictConfig

from deeplab.cli import parse, run_script


def main(config: DictConfig) -> None:
    """Check the config, then evaluate."""
    from deeplab.config import EvaluateConfig

    checked = parse(EvaluateConfig, config)
    from deeplab.evaluation.command import run_evaluation

    run_evaluation(checked)


if __name__ == "__main__":
    run_script(main, "evaluate")
