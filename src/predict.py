"""Apply a trained network to pictures of one's own; see ``conf/predict.yaml``."""

import sys

from omegaconf import DictConfig

from deeplab.cli import parse, run_script


def main(config: DictConfig) -> None:
    """Check the config, then predict; status 1 if some files could not be read."""
    from deeplab.config import PredictConfig

    checked = parse(PredictConfig, config)
    from deeplab.prediction.command import run_prediction

    if run_prediction(checked):
        sys.exit(1)


if __name__ == "__main__":
    run_script(main, "predict")
