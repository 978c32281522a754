"""Print parameters, multiply-adds and speed of a network; see ``python src/cost.py --help``."""

from omegaconf import DictConfig

from deeplab.config.hydra_app import run_script
from deeplab.config.parsing import parse


def main(config: DictConfig) -> None:
    """Check the config, then count and measure."""
    from deeplab.config.schema.scripts import CostConfig

    checked = parse(CostConfig, config)
    from deeplab.tools.cost.cost import run_cost

    run_cost(checked)


if __name__ == "__main__":
    run_script(main, "cost")
