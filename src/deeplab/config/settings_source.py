"""Source of config files for Hydra; not a plugin, since it takes the place of Hydra's own."""

import sys

from hydra._internal.core_plugins import file_config_source
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.config_source import ConfigResult

from deeplab.config.paths import CONF


class FileConfigSource(file_config_source.FileConfigSource):
    """Folder of config files that are completed by their defaults when they are read.

    It has the name of Hydra's class: by it the registry of a launcher's worker, which gets this one
    from its parent, sees that files have their source.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the file's content over the defaults of its keys."""
        result = super().load_config(config_path)
        if "--help" not in sys.argv:  # it lists groups, not keys, and must answer at once
            from deeplab.config.defaults import complete

            result.config = complete(config_path, result.config)
        return result


def is_own(search_path: ConfigSearchPath) -> bool:
    """Return True for the search path of this project's applications, False for another's."""
    folders = [str(item.path).removeprefix("file://") for item in search_path.get_path()]
    return str(CONF) in folders
