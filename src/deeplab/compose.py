"""The config of ``train.py`` for a list of overrides, outside of a Hydra application."""

from collections.abc import Sequence

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from deeplab.check import one_run
from deeplab.cli import CONF, explain, parse
from deeplab.config import TrainConfig
from deeplab.errors import UserError
from deeplab.starting import adapted


def compose_train(overrides: Sequence[str], *, download: bool = True) -> TrainConfig:
    """What ``python src/train.py OVERRIDES`` would run with; beside the config only the
    weights that it starts from are looked at, which are fetched with ``download``.

    Raises:
        UserError: Hydra or the schema refuses it.
    """
    if GlobalHydra.instance().is_initialized():  # in a sweep
        return _compose(overrides, download)
    with initialize_config_dir(str(CONF), version_base="1.3", job_name="train"):
        return _compose(overrides, download)


def _compose(overrides: Sequence[str], download: bool) -> TrainConfig:
    loader = GlobalHydra.instance().config_loader()
    try:
        config = loader.load_configuration("train", list(overrides), run_mode=RunMode.RUN)
        parsed = parse(TrainConfig, one_run(without_hydra(config)))
        return adapted(parsed, download=download)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from None


def without_hydra(config: DictConfig) -> DictConfig:
    """What Hydra hands to a job: the config without its own part, which ``${hydra:...}`` still
    finds."""
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config
