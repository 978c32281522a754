"""The classes of the user's own that a config names, by the keys of their leaves."""

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from deeplab.utils.constants import TARGET
from deeplab.utils.own_code.finding import find_module
from deeplab.utils.own_code.node import OwnCode, targets
from deeplab.utils.own_code.trust import check_trusted, trust
from deeplab.utils.parallel import is_first_process
from deeplab.utils.settings import Settings

S = TypeVar("S", bound=Settings)


def own_nodes(config: Settings, prefix: str = "") -> Iterator[tuple[str, OwnCode]]:
    """Yield the key and the node of each leaf of a config that names a class."""
    for name, value in config:
        yield from _nodes(value, f"{prefix}{name}")


def _nodes(value: Any, key: str) -> Iterator[tuple[str, OwnCode]]:
    if isinstance(value, OwnCode):
        yield key, value
    if isinstance(value, Settings):
        yield from own_nodes(value, f"{key}.")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _nodes(item, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _nodes(item, f"{key}.{i}")


def describe_own_code(config: Settings) -> list[str]:
    """Return a line for each class of the user's own: its key, path, file and version."""
    return [
        f"{key}.{TARGET}={node.target}, {_file_of(node.target)}{node.version}"
        for key, node in own_nodes(config)
    ]


def _file_of(target: str) -> str:
    module = find_module(target)
    return f"{Path(module.origin).name}, " if module and module.origin else ""


def with_versions(config: S) -> S:
    """Return a config whose nodes have the versions of their classes.

    Raises:
        UserError: a module is not found.
    """
    return config.model_copy(update={name: _with_versions(v, name) for name, v in config})


def _with_versions(value: Any, key: str) -> Any:
    if isinstance(value, OwnCode):
        value = value.with_version(key)
    if isinstance(value, Settings):
        names = type(value).model_fields
        fields = {name: _with_versions(getattr(value, name), f"{key}.{name}") for name in names}
        return value.model_copy(update=fields)
    if isinstance(value, Mapping):
        return {name: _with_versions(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_with_versions(item, f"{key}.{i}") for i, item in enumerate(value))
    return value


def network_versions(config: Settings, leaves: Collection[str]) -> dict[str, str]:
    """Return the present versions of the classes of some leaves, by their keys.

    Raises:
        UserError: a module is not found.
    """
    return {
        key: node.with_version(key).version or ""
        for key, node in own_nodes(config)
        if key in leaves
    }


def trained_versions(config: Settings, leaves: Collection[str]) -> dict[str, str]:
    """Return the versions of the classes of some leaves that a run was trained with."""
    return {key: node.version or "" for key, node in own_nodes(config) if key in leaves}


def changed_code(config: Settings, leaves: Collection[str] | None = None) -> str:
    """Return which classes have changed since a run was started; empty if none has.

    Args:
        config: the run's config.
        leaves: keys of the classes; None: all.

    Raises:
        UserError: a module is not found.
    """
    return " and ".join(
        f"{key}.{TARGET}={node.target} (then {node.version}, now {now})"
        for key, node in own_nodes(config)
        if leaves is None or key in leaves
        if (now := node.with_version(key).version) != node.version
    )


def trust_config(config: Settings) -> None:
    """Allow the classes of a config, which the command line and ``conf/`` have named."""
    for _, node in own_nodes(config):
        trust(targets(node))


def check_trained(
    config: Settings, source: str, *, trusted: bool, leaves: Collection[str] | None = None
) -> None:
    """Do as ``check_foreign``, and say which classes have changed since the training."""
    check_foreign(config, source, trusted=trusted, leaves=leaves)
    if (changed := changed_code(config, leaves)) and is_first_process():
        print(
            f"Warning: the code of {changed} has changed since this run was trained, whose weights "
            "are used with the present code.",
            file=sys.stderr,
        )


def check_foreign(
    config: Settings, source: str, *, trusted: bool, leaves: Collection[str] | None = None
) -> None:
    """Check that the classes of a config that was read from a run's folder may be imported.

    Args:
        config: the config.
        source: what names the classes, for the message.
        trusted: value of ``trust_remote_code``.
        leaves: keys of the classes that will be imported; None: all.

    Raises:
        UserError: one may not.
    """
    if trusted:
        trust_config(config)
    nodes = [node for key, node in own_nodes(config) if leaves is None or key in leaves]
    check_trusted([target for node in nodes for target in targets(node)], source)
