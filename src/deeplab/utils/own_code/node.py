"""Nodes of a config that name a class of the user's own: ``_target_: package.module.Name``."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from deeplab.utils.constants import TARGET
from deeplab.utils.own_code.version import code_version
from deeplab.utils.settings import Settings, Text, wrong_value

VERSION = "_version_"

HYDRA_KEYS = ("_partial_", "_convert_", "_recursive_")
"""Keys of Hydra's nodes that have no effect here: what is built when is decided by the leaf."""


def _check_target(target: str) -> str:
    names = target.split(".")
    if len(names) < 2 or not all(map(str.isidentifier, names)):
        raise wrong_value("expected the path of a class, package.module.Name")
    return target


class OwnCode(Settings):
    """A class of the user's own with its arguments: all keys that are no fields."""

    model_config = ConfigDict(extra="allow", frozen=True)

    target: Annotated[Text, AfterValidator(_check_target)] = Field(alias="_target_")
    """Path of the class: ``package.module.Name``."""
    version: Text | None = Field(None, alias="_version_")
    """Version of its distribution, or the hash of its source files."""

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: Any) -> Any:
        if isinstance(values, dict) and "_args_" in values:
            raise ValueError("_args_: positional arguments have no name. Set them by their names")
        if isinstance(values, dict):
            return {key: value for key, value in values.items() if key not in HYDRA_KEYS}
        return values

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = {"target", "version", TARGET, VERSION} - self.arguments.keys()
        values = {key: value for key, value in handler(self).items() if key not in fields}
        return {**values, TARGET: self.target, VERSION: self.version}

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the class."""
        return dict(self.model_extra or {})

    def with_version(self, key: str) -> Self:
        """Return the node with the versions of its class and of those in its arguments.

        Args:
            key: key of the leaf, for messages.

        Raises:
            UserError: a module is not found.
        """
        versions = [code_version(target, key) for target in targets(self)]
        return self.model_copy(update={"version": " ".join(dict.fromkeys(versions))})


def is_own_code(values: Any) -> bool:
    """Return True if the values of a leaf name a class."""
    return isinstance(values, Mapping) and TARGET in values


def targets(value: Any) -> Iterator[str]:
    """Yield the classes that a node, or a value with nodes in it, names."""
    if isinstance(value, OwnCode):
        yield value.target
        yield from targets(value.arguments)
    elif isinstance(value, Mapping):
        if TARGET in value:
            yield str(value[TARGET])
        for item in value.values():
            yield from targets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from targets(item)
