"""Source of config files for Hydra; not a plugin, since it takes the place of Hydra's own."""

import sys
from pathlib import Path

from hydra._internal.core_plugins import file_config_source
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from deeplab.config.paths import config_groups, script_groups
from deeplab.utils.constants import TARGET
from deeplab.utils.own_code.folders import own_folders
from deeplab.utils.program import CONF, as_typed, script_name
from deeplab.utils.reading import read_values

USER = "user"
"""Hydra's name of the provider of the user's own choices."""

OPEN_GROUPS = ("callbacks/",)
"""Beginnings of the paths of files whose keys are names that the user chooses."""


class FileConfigSource(file_config_source.FileConfigSource):
    """Folder of config files that are completed by their defaults when they are read.

    It has the name of Hydra's class: by it the registry of a launcher's worker, which gets this one
    from its parent, sees that files have their source.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the file's content over the defaults of its keys.

        Raises:
            UserError: a file of the user's is not YAML with keys.
        """
        path = Path(self.path, self._normalize_file_name(config_path))
        if not path.is_relative_to(CONF):
            read_values(path, "Correct the file.")
        result = super().load_config(config_path)
        if "--help" in sys.argv:  # it lists groups, not keys, and must answer at once
            if help_text := OmegaConf.select(result.config, "hydra.help"):
                keys = f"Keys: deeplab {config_path.removesuffix('.yaml')} --keys WORD finds them."
                space = "\n" if help_text.template.endswith("GROUPS") else "\n\n"
                help_text.template = as_typed(f"{help_text.template}{space}{keys}")
        else:
            from deeplab.config.defaults import complete

            result.config = complete(config_path, result.config)
        if isinstance(result.config, DictConfig) and (
            config_path.startswith(OPEN_GROUPS) or TARGET in set(result.config.keys())
        ):
            OmegaConf.set_struct(result.config, False)  # a class of one's own has any arguments
        return result

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return what is in a folder; of the user's, the groups that the project has.

        A script's help shows only the groups that the script takes.
        """
        names = super().list(config_path, results_filter)
        script = script_name()
        if "--help" in sys.argv and script and not config_path:
            names = [name for name in names if name in script_groups(script)]
        if self.provider == USER and not config_path:
            names = [name for name in names if name in config_groups()]
        return names


def add_own_folders(search_path: ConfigSearchPath) -> None:
    """Add the folders with the user's own choices, after the project's."""
    for folder in own_folders():
        search_path.append(provider=USER, path=f"file://{folder}")


def share_config_store() -> None:
    """Let the copies that Hydra makes of its sources share the configs of its plugins.

    Nothing changes those: what is loaded is copied once more. ``--help`` makes 120 copies, which
    took half of its time.
    """
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]


def is_own(search_path: ConfigSearchPath) -> bool:
    """Return True for the search path of this project's applications, False for another's."""
    folders = [str(item.path).removeprefix("file://") for item in search_path.get_path()]
    return str(CONF) in folders
