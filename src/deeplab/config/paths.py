"""Locations of the project's folders and of its config files."""

import os
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from deeplab.utils.program import PACKAGE

_PACKED = PACKAGE / "conf"

CONF = _PACKED if _PACKED.is_dir() else PACKAGE.parents[1] / "conf"
"""The project's config files: in the package of a wheel, in a checkout at its top."""

TABLES = ("ablation", "preset")
"""Folders of ``conf/`` whose files describe sweeps and hold no keys of a run."""


SWEEPING = ("train", "evaluate")
"""Scripts that take ``-m``: all jobs of a sweep are checked before the first one."""


def exists(path: Path) -> bool:
    """Return True if a file or folder exists; False also if it cannot, such as by its length."""
    return os.path.exists(path)  # noqa: PTH110  Path.exists raises OSError for a long name


def group_choices(group: str) -> list[str]:
    """Return the names of a config group's files, short ones first."""
    return sorted((p.stem for p in (CONF / group).glob("*.yaml")), key=lambda c: (len(c), c))


def config_groups() -> set[str]:
    """Return the names of the config groups."""
    return {path.name for path in CONF.iterdir() if path.is_dir()}


def script_groups(script: str) -> set[str]:
    """Return the config groups that ``conf/<script>.yaml`` composes."""
    entries = OmegaConf.load(CONF / f"{script}.yaml").defaults
    names = {str(key) for entry in entries if isinstance(entry, DictConfig) for key in entry}
    return {name for name in names if not name.startswith("override ")}
