"""Apply a trained network to your own images; see ``python src/predict.py --help``."""

import sys

from omegaconf import DictConfig

from deeplab.config.hydra_app import run_script
from deeplab.config.parsing import parse


def main(config: DictConfig) -> None:
    """Check the config, then predict; exit with status 1 if files could not be read."""
    from deeplab.config.schema.scripts import PredictConfig

    checked = parse(PredictConfig, config)
    from deeplab.tools.predict.predict import run_prediction

    if run_prediction(checked):
        sys.exit(1)


if __name__ == "__main__":
    run_script(main, "predict")
