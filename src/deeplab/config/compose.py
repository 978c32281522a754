"""Composition of a script's config outside of its Hydra application, as from a notebook.

Hydra keeps its state in singletons. Here each of them is given back as it was, so that a caller may
be a Hydra application of its own.
"""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import RLock

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from deeplab.config.command_line import check_overrides, parse_overrides
from deeplab.config.implied_overrides import implied_overrides
from deeplab.config.messages import format_hydra_error
from deeplab.config.overrides import to_hydra_override
from deeplab.config.paths import script_groups
from deeplab.config.settings_source import is_own
from deeplab.utils.errors import UserError
from deeplab.utils.program import CONF

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
    overrides = [to_hydra_override(override) for override in overrides]
    parsed = parse_overrides(overrides)
    check_overrides(parsed, script_groups(script))
    try:
        if any(override.is_hydra_override() for override in parsed):
            return _loader().load_configuration(script, overrides, run_mode=RunMode.RUN)
        return _load_cached(script, parsed)
    except (HydraException, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise UserError(format_hydra_error(error)) from None


def _load_cached(script: str, overrides: list[Override]) -> DictConfig:
    """Return what Hydra composes, with its result for the choices of groups kept.

    Choosing and merging the files takes Hydra most of its time, and the rows of a table differ
    mostly in values.
    """
    loader = _loader()
    loader.validate_sweep_overrides_legal(overrides, run_mode=RunMode.RUN, from_shell=True)
    is_group = loader.repository.group_exists
    choices = [o for o in overrides if o.package or is_group(o.key_or_group)]
    lines = tuple(str(o.input_line) for o in choices)
    config: DictConfig = pickle.loads(_compose(script, lines, _state_of_files(loader)))
    values = [override for override in overrides if override not in choices]
    ConfigLoaderImpl._apply_overrides_to_config(values, config)
    config.hydra.overrides.task = [override.input_line for override in overrides]
    config.hydra.runtime.cwd = str(Path.cwd())
    return config


@lru_cache(maxsize=64)
def _compose(script: str, choices: Sequence[str], state: object) -> bytes:
    """Return the pickled config of some choices; a copy by pickle is the fastest one."""
    del state  # only a part of the key
    config = _loader().load_configuration(script, [*choices], run_mode=RunMode.RUN)
    return pickle.dumps(config)


def _state_of_files(loader: ConfigLoaderImpl) -> tuple[object, ...]:
    """Return the files that may be composed, with their times and sizes."""
    folders = [item.path for item in loader.config_search_path.get_path()]
    paths = [Path(str(folder).removeprefix("file://")) for folder in folders]
    files = (file for path in paths for depth in ("", "*/") for file in path.glob(f"{depth}*.yaml"))
    return tuple(sorted((str(file), _time_and_size(file)) for file in files))


def _time_and_size(file: Path) -> tuple[int, int]:
    try:
        state = file.stat()
    except OSError:  # such as a link to nothing; Hydra reports it where it is chosen
        return (0, 0)
    return (state.st_mtime_ns, state.st_size)


def _loader() -> ConfigLoaderImpl:
    running = GlobalHydra.instance()
    if running.is_initialized():
        loader = running.config_loader()
        if isinstance(loader, ConfigLoaderImpl) and is_own(loader.get_search_path()):
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
