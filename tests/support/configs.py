"""Configs composed from a command line."""

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from deeplab.config.compose import composed
from deeplab.config.schema.run import TrainConfig
from deeplab.training.validate_config import parse_run
from deeplab.utils.program import CONF


def compose_config(name, *overrides):
    """Return the config of a command line."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, overrides=list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return {key: value for key, value in config.items() if key != "hydra"}


def train_config(*overrides) -> TrainConfig:
    with composed("train", overrides) as config:
        return parse_run(config)
