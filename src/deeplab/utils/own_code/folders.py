"""Folders with choices of the user's own for the config groups."""

import os
from pathlib import Path

from deeplab.utils.program import CONF

CONFIG_DIR = "DEEPLAB_CONFIG_DIR"
"""Environment variable with the folder of ``--config-dir``, which children inherit."""


def own_folders() -> list[Path]:
    """Return the folders with the user's own choices: of ``--config-dir``, and ``conf/`` here."""
    named = os.environ.get(CONFIG_DIR)
    folders = [Path(named)] if named else []
    here = Path("conf").absolute()
    if os.path.isdir(here) and os.access(here, os.R_OK | os.X_OK):  # noqa: PTH112  never raises
        folders += [here] * (not any(here.samefile(folder) for folder in [CONF, *folders]))
    return folders
