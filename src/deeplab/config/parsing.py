"""Parsing of composed values into checked schema objects."""

from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from deeplab.config.messages import format_hydra_error, format_validation_errors
from deeplab.utils.errors import UserError
from deeplab.utils.program import CONF
from deeplab.utils.settings import AUTO, find_holder

S = TypeVar("S")

PLACEHOLDERS: dict[str, Any] = {
    "data.crop_size": 513,
    "data.scales.max": 2.0,
    "data.eval_size": 513,
    "stage.batch_size": 16,
    "stage.max_steps": 30_000,
    "stage.warmup_steps": 0,
    "aspp.atrous_rates": [6, 12, 18],
    "backbone.pretrained": None,
    "loss.class_weights": None,
}
"""Keys that may be ``auto``, and the value that they have until one is chosen
(``deeplab.training.automatic``): the paper's."""


def file_values(name: str) -> dict[str, Any]:
    """Return the keys of ``conf/<name>.yaml`` itself, without the groups that it composes."""
    loaded = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"), resolve=False)
    assert isinstance(loaded, dict)
    return {str(k): v for k, v in loaded.items() if k not in ("defaults", "hydra")}


def parse(schema: type[S], config: DictConfig) -> S:
    """Return the composed config as an object of its schema.

    Keys that are ``auto`` have the value of ``PLACEHOLDERS``, and ``automatic`` lists them.

    Raises:
        UserError: one line for each wrong key, with its value and what is allowed.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(format_hydra_error(error)) from None
    assert isinstance(values, dict)
    automatic = _replace_automatic(values)
    if "automatic" in getattr(schema, "model_fields", ()):
        values["automatic"] = automatic
    return validate(schema, values)


def _replace_automatic(values: dict[Any, Any]) -> list[str]:
    """Replace each ``auto`` by its placeholder; return the keys."""
    keys = []
    for key, placeholder in PLACEHOLDERS.items():
        holder, name = find_holder(values, key)
        if holder.get(name) == AUTO:
            holder[name] = placeholder
            keys.append(key)
    return keys


def validate(schema: type[S], values: Any) -> S:
    """Return plain values as an object of their schema; raises UserError as ``parse`` does."""
    from pydantic import ValidationError

    try:
        return schema(**values)
    except ValidationError as error:
        raise UserError(format_validation_errors(error.errors(), values)) from None
