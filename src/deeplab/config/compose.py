"""Composition of a script's config outside of its Hydra application, as from a notebook.

Hydra keeps its state in singletons. Here each of them is given back as it was, so that a caller may
be a Hydra application of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import RLock

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from deeplab.config.command_line import check_overrides, parse_overrides
from deeplab.config.hydra_app import to_sweep_override
from deeplab.config.implied_overrides import implied_overrides
from deeplab.config.messages import format_hydra_error
from deeplab.config.paths import CONF, script_groups
from deeplab.config.settings_source import is_own
from deeplab.utils.errors import UserError

_lock = RLock()
"""Held while Hydra's singletons are replaced."""


@contextmanager
def composed(script: str, overrides: Sequence[str]) -> Iterator[DictConfig]:
    """Compose the config of a script, as its command line with these overrides would.

    Inside the block ``${hydra:...}`` resolves and ``HydraConfig`` describes the config. In one of
    this project's own Hydra applications its search path is used, with what ``--config-dir`` adds.

    Args:
        script: name of the script's file in ``conf/``.
        overrides: Hydra overrides, one string each.

    Raises:
        UserError: Hydra rejects an override.
    """
    with _lock, _separate_hydra():
        yield without_hydra(_load(script, overrides))


def _load(script: str, overrides: Sequence[str]) -> DictConfig:
    overrides = [*overrides, *implied_overrides(script, overrides)]
    overrides = [to_sweep_override(override) for override in overrides]
    check_overrides(parse_overrides(overrides), script_groups(script))
    try:
        return _loader().load_configuration(script, overrides, run_mode=RunMode.RUN)
    except (HydraException, OmegaConfBaseException, RecursionError) as error:
        raise UserError(format_hydra_error(error)) from None


def _loader() -> ConfigLoader:
    running = GlobalHydra.instance()
    if running.is_initialized():
        loader = running.config_loader()
        if is_own(loader.get_search_path()):
            return loader
    return ConfigLoaderImpl(create_config_search_path(str(CONF)))


@contextmanager
def _separate_hydra() -> Iterator[None]:
    """Restore Hydra's config, version base and sources of files after the block."""
    Plugins.instance()  # registers Hydra's own sources
    config, version = HydraConfig.instance(), VersionBase.instance()
    before, base, sources = config.cfg, version.version_base, SourcesRegistry.instance()
    types = dict(sources.types)
    try:
        setbase("1.3")
        setup_globals()
        yield
    finally:
        config.cfg, version.version_base, sources.types = before, base, types


def without_hydra(config: DictConfig) -> DictConfig:
    """Remove the ``hydra`` node from a config, as Hydra does before it runs a job."""
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config
