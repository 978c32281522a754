"""Configs of ``train.py`` for a list of overrides, outside of a Hydra application."""

from collections.abc import Sequence

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from deeplab.checkpoints.initialization import adapt_to_weights
from deeplab.config.messages import format_hydra_error
from deeplab.config.paths import CONF
from deeplab.config.schema.run import RunConfig, TrainConfig
from deeplab.training.validate_config import parse_run
from deeplab.utils.errors import UserError


def compose_train(overrides: Sequence[str], *, download: bool = True) -> RunConfig:
    """Return the config that ``python src/train.py OVERRIDES`` would run with.

    Of the files that the config names, only the initial weights are read.

    Args:
        overrides: Hydra overrides.
        download: download initial weights that are not here yet.

    Raises:
        UserError: Hydra or the schema rejects the overrides.
    """
    if GlobalHydra.instance().is_initialized():  # in a sweep
        return _compose(overrides, download)
    with initialize_config_dir(str(CONF), version_base="1.3", job_name="train"):
        return _compose(overrides, download)


def compose_segmentation(overrides: Sequence[str]) -> TrainConfig:
    """Return the config of ``compose_train`` for a segmentation network.

    Raises:
        UserError: as in ``compose_train``, or the config trains a classifier.
    """
    config = compose_train(overrides)
    if not isinstance(config, TrainConfig):
        raise UserError(
            f"data={config.data.name}: this data set trains an image classifier, not a "
            "segmentation network. Choose a data set with masks."
        )
    return config


def _compose(overrides: Sequence[str], download: bool) -> RunConfig:
    loader = GlobalHydra.instance().config_loader()
    try:
        config = loader.load_configuration("train", list(overrides), run_mode=RunMode.RUN)
        return adapt_to_weights(parse_run(without_hydra(config)), download=download)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(format_hydra_error(error)) from None


def without_hydra(config: DictConfig) -> DictConfig:
    """Remove the ``hydra`` node from a config, as Hydra does before it runs a job.

    ``${hydra:...}`` still resolves.
    """
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config
