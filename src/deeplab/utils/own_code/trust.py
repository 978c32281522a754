"""Classes that may be imported: which those are, and who may name them.

What the command line or the user's own ``conf/`` names is imported. What a run's folder or a
repository names is not: ``trust`` must have been called with its name before, which the scripts do
for the former, and for the latter only with ``trust_remote_code=true``.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from deeplab.utils.errors import UserError
from deeplab.utils.own_code.finding import find_module
from deeplab.utils.own_code.folders import own_folders
from deeplab.utils.own_code.node import targets

_trusted: set[str] = set()


def trust(names: Iterable[str]) -> None:
    """Allow classes to be imported in this process."""
    _trusted.update(names)


def trusted_names() -> list[str]:
    """Return the classes that may be imported in this process, to ``trust`` them in another one."""
    return sorted(_trusted)


def check_trusted(names: Iterable[str], source: str) -> None:
    """Check that all of these classes may be imported.

    Those that a file of the user's own ``conf/`` names may, in the working folder or in that of
    ``--config-dir``.

    Args:
        names: the classes.
        source: what names them, for the message.

    Raises:
        UserError: one may not.
    """
    foreign = [name for name in dict.fromkeys(names) if name not in _trusted]
    if foreign:
        own = set(_own_conf_targets())
        trust(own)
        foreign = [name for name in foreign if name not in own]
    for name in foreign:
        if find_module(name) is None:
            raise UserError(
                f"{source} names {name}: there is no module {name.split('.')[0]}, neither in "
                f"{Path.cwd()} nor among the installed packages. Run this in the folder of its "
                "file, or add that folder to PYTHONPATH."
            )
    if foreign:
        raise UserError(
            f"trust_remote_code=false: {source} names code that this command would import: "
            f"{', '.join(f'{name} ({_describe_place(name)})' for name in foreign)}. Read it first; "
            "then set trust_remote_code=true, or name it in a file of your own conf/."
        )


def _own_conf_targets() -> Iterator[str]:
    """Yield the classes that the files of the user's own ``conf/`` name."""
    for path in (path for folder in own_folders() for path in folder.glob("*/*.yaml")):
        try:
            yield from targets(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, yaml.YAMLError):  # reported when it is chosen
            continue


def _describe_place(target: str) -> str:
    spec = find_module(target)
    return str((spec and spec.origin) or "a folder")
