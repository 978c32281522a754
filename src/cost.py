"""Print what a network costs; see ``python src/cost.py --help``."""

from omegaconf import DictConfig

from deeplab.cli import parse, run_script


def main(config: DictConfig) -> None:
    """Check the config, then count."""
    from deeplab.config import CostConfig

    checked = parse(CostConfig, config)
    from deeplab.cost.command import run_cost

    run_cost(checked)


if __name__ == "__main__":
    run_script(main, "cost")
