"""Compare evaluations; see ``python src/compare.py --help``."""

from omegaconf import DictConfig

from deeplab.config.hydra_app import run_script
from deeplab.config.parsing import parse


def main(config: DictConfig) -> None:
    """Check the config, then compare."""
    from deeplab.config.schema.scripts import CompareConfig

    checked = parse(CompareConfig, config)
    from deeplab.evaluation.comparison import run_comparison

    run_comparison(checked)


if __name__ == "__main__":
    run_script(main, "compare")
