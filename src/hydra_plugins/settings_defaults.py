"""Hydra plugin that completes the files of ``conf/`` by the defaults of their settings.

A file holds what differs from the defaults, which stand in the pydantic models alone. To Hydra each
key is in the file: it can be set on the command line, and ``--cfg job`` prints it.
"""

import sys

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin


class SettingsSource(FileConfigSource):
    """Folder of config files that are completed when they are read."""

    @staticmethod
    def scheme() -> str:
        """Return the prefix of such folders in Hydra's search path."""
        return "settings"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the file's content over the defaults of its keys."""
        result = super().load_config(config_path)
        if "--help" not in sys.argv:  # it lists groups, not keys, and must answer at once
            from deeplab.config.defaults import complete

            result.config = complete(config_path, result.config)
        return result


class SettingsSearchPath(SearchPathPlugin):
    """Lets Hydra read the application's config folder through ``SettingsSource``."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Mark the folder of the application."""
        for element in search_path.get_path():
            if element.provider == "main" and "://" not in str(element.path):
                element.path = f"{SettingsSource.scheme()}://{element.path}"
