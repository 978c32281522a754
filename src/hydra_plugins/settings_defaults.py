"""Hydra plugin that finds the user's config files and completes all by their defaults.

A file holds what differs from the defaults, which stand in the pydantic models alone. To Hydra each
key is in the file: it can be set on the command line, and ``--cfg job`` prints it.
"""

from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class SettingsDefaults(SearchPathPlugin):
    """Lets Hydra read all folders of config files, also the user's, with their defaults.

    Other people's applications, which find this plugin too, read their files as they are.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Replace Hydra's source of files and add the user's folders, for this project only."""
        from deeplab.config.settings_source import (
            FileConfigSource,
            add_own_folders,
            is_own,
            share_config_store,
        )

        own = is_own(search_path)
        source = FileConfigSource if own else file_config_source.FileConfigSource
        SourcesRegistry.instance().types["file"] = source
        if own:
            add_own_folders(search_path)
            share_config_store()
