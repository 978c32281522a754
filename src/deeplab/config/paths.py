"""Locations of the project's folders and of its config files."""

import filecmp
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from deeplab.utils.own_code.folders import own_folders
from deeplab.utils.paths import is_reachable
from deeplab.utils.program import CONF
from deeplab.utils.text import name_some

TABLES = ("ablation", "preset")
"""Folders of ``conf/`` whose files describe sweeps and hold no keys of a run."""


MAX_NAMES = 6
"""Number of choices of the user's that are named."""

OWN_GROUPS = ("loss", "optimizer", "lr_scheduler", "backbone", "aspp", "decoder", "data")
"""Groups of which a choice may be a class of the user's own."""

SWEEPING = ("train", "evaluate")
"""Scripts that take ``-m``: all jobs of a sweep are checked before the first one."""


def find_choice(group: str, name: str) -> Path | None:
    """Return the file of a choice; the project's own come before those of the user."""
    paths = (folder / group / f"{name}.yaml" for folder in [CONF, *own_folders()])
    return next((path for path in paths if is_reachable(path)), None)


def group_choices(group: str) -> list[str]:
    """Return the names of a config group's files, short ones first."""
    names = {path.stem for folder in [CONF, *own_folders()] for path in _files(folder, group)}
    return sorted(names, key=lambda name: (len(name), name))


def _files(folder: Path, group: str) -> list[Path]:
    return sorted(path for path in (folder / group).glob("*.yaml") if path.is_file())


def project_choices(group: str) -> list[str]:
    """Return the names of the project's own files of a group, in alphabetical order."""
    return [path.stem for path in _files(CONF, group)]


def describe_own_choices(groups: Iterable[str]) -> str:
    """Return a line on what the user's folders add to groups; empty if they add nothing.

    It also names the files that are not taken, because the project has a choice of their name.
    """
    added: list[str] = []
    shadowed: list[str] = []
    folders = own_folders()
    for group in sorted(groups):
        known = {path.stem: path for path in _files(CONF, group)}
        for path in (path for folder in folders for path in _files(folder, group)):
            if known.setdefault(path.stem, path) is path:
                added.append(f"{group}={path.stem}")
            elif not _same_text(path, known[path.stem]):
                shadowed.append(f"{group}/{path.name}")
    texts = [f"adds {name_some(added, MAX_NAMES)}"] * bool(added)
    if shadowed:
        texts.append(
            f"{name_some(shadowed, MAX_NAMES)} not taken, because there is a choice of that name "
            "already (rename the file to use it)"
        )
    return f"{' and '.join(map(str, folders))}: {'; '.join(texts)}." if texts else ""


def _same_text(first: Path, second: Path) -> bool:
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:
        return False


def config_groups() -> set[str]:
    """Return the names of the config groups."""
    return {path.name for path in CONF.iterdir() if path.is_dir()}


@cache
def script_groups(script: str) -> frozenset[str]:
    """Return the config groups that ``conf/<script>.yaml`` composes."""
    entries = OmegaConf.load(CONF / f"{script}.yaml").defaults
    names = {str(key) for entry in entries if isinstance(entry, DictConfig) for key in entry}
    return frozenset(name for name in names if not name.startswith("override "))
