"""Defaults of the config files: those of the settings that each file is for."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic_core import PydanticUndefined, to_jsonable_python

from deeplab.config.schema.groups import schema_of
from deeplab.utils.own_code.node import VERSION
from deeplab.utils.settings import Settings

MISSING = "???"
"""OmegaConf's value of a key that must be set."""


def complete(path: str, config: Any) -> Any:
    """Return the content of a config file over the defaults of its keys.

    A file that builds on another one of its group gets them from there.

    Args:
        path: path of the file below ``conf/``, such as ``stage/voc``.
        config: content of the file.
    """
    if not isinstance(config, DictConfig):
        return config
    entries = OmegaConf.to_container(config, resolve=False).get("defaults", [])  # type: ignore[union-attr]
    if any(isinstance(entry, str) and entry != "_self_" for entry in entries):
        return config
    groups = {key for entry in entries if isinstance(entry, Mapping) for key in entry}
    defaults = {
        key: value
        for schema in schema_of(path, config)
        for key, value in default_values(schema).items()
        if key not in groups
    }
    return OmegaConf.merge(defaults, config)


def default_values(schema: type[Settings]) -> dict[str, Any]:
    """Return the default of each key as YAML holds it; ``???`` for a key that has none."""
    return {
        field.alias or name: MISSING
        if field.default is PydanticUndefined
        else to_jsonable_python(field.default)
        for name, field in schema.model_fields.items()
        if field.alias != VERSION  # which is not typed
    }
