"""The config of ``train.py`` for a list of overrides, outside of a Hydra application."""

from collections.abc import Sequence

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from deeplab.checkpoints.initialization import adapted
from deeplab.config.messages import explain
from deeplab.config.paths import CONF
from deeplab.config.schema.run import RunConfig, TrainConfig
from deeplab.training.validate_config import parse_run
from deeplab.utils.errors import UserError


def compose_train(overrides: Sequence[str], *, download: bool = True) -> RunConfig:
    """What ``python src/train.py OVERRIDES`` would run with; beside the config only the
    weights that it starts from are looked at, which are fetched with ``download``.

    Raises:
        UserError: Hydra or the schema refuses it.
    """
    if GlobalHydra.instance().is_initialized():  # in a sweep
        return _compose(overrides, download)
    with initialize_config_dir(str(CONF), version_base="1.3", job_name="train"):
        return _compose(overrides, download)


def compose_segmentation(overrides: Sequence[str]) -> TrainConfig:
    """The same, where it is to be a segmentation network that is trained.

    Raises:
        UserError: as ``compose_train`` does, or it is a classifier.
    """
    config = compose_train(overrides)
    if not isinstance(config, TrainConfig):
        raise UserError(f"data={config.data.name}: this makes a classifier of whole pictures.")
    return config


def _compose(overrides: Sequence[str], download: bool) -> RunConfig:
    loader = GlobalHydra.instance().config_loader()
    try:
        config = loader.load_configuration("train", list(overrides), run_mode=RunMode.RUN)
        return adapted(parse_run(without_hydra(config)), download=download)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from None


def without_hydra(config: DictConfig) -> DictConfig:
    """What Hydra hands to a job: the config without its own part, which ``${hydra:...}`` still
    finds."""
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config
