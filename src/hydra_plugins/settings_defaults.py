"""Hydra plugin that completes config files by the defaults of their settings.

A file holds what differs from the defaults, which stand in the pydantic models alone. To Hydra each
key is in the file: it can be set on the command line, and ``--cfg job`` prints it.
"""

from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class SettingsDefaults(SearchPathPlugin):
    """Lets Hydra read all folders of config files, also ``--config-dir``, with their defaults.

    Other people's applications, which find this plugin too, read their files as they are.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Replace Hydra's source of files, or put it back; the search path stays as it is."""
        from deeplab.config.settings_source import FileConfigSource, is_own

        original = file_config_source.FileConfigSource
        source = FileConfigSource if is_own(search_path) else original
        SourcesRegistry.instance().types["file"] = source
