"""Parsing of composed values into checked schema objects."""

from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from deeplab.config.messages import format_hydra_error, format_validation_errors
from deeplab.config.paths import CONF
from deeplab.utils.errors import UserError

S = TypeVar("S")


def file_values(name: str) -> dict[str, Any]:
    """Return the keys of ``conf/<name>.yaml`` itself, without the groups that it composes."""
    loaded = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"), resolve=False)
    assert isinstance(loaded, dict)
    return {str(k): v for k, v in loaded.items() if k not in ("defaults", "hydra")}


def parse(schema: type[S], config: DictConfig) -> S:
    """Return the composed config as an object of its schema.

    Raises:
        UserError: one line for each wrong key, with its value and what is allowed.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(format_hydra_error(error)) from None
    return validate(schema, values)


def validate(schema: type[S], values: Any) -> S:
    """Return plain values as an object of their schema; raises UserError as ``parse`` does."""
    from pydantic import ValidationError

    try:
        return schema(**values)
    except ValidationError as error:
        raise UserError(format_validation_errors(error.errors(), values)) from None
