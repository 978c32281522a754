"""Identity of a run: the keys that its result depends on, and their hash."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from deeplab.config.schema.run import COMMAND_KEYS, RunConfig
from deeplab.config.schema.trainer import EXECUTION_ARGUMENTS
from deeplab.data.settings import LOCATION_KEYS
from deeplab.tracking.schema_version import SCHEMA_VERSION
from deeplab.utils.settings import added_keys, flatten

CHANGEABLE_ON_RESUME = (
    *(key for key in COMMAND_KEYS if key != "overwrite"),  # which starts a new run
    *(f"trainer.{key}" for key in EXECUTION_ARGUMENTS),
    "logger",
    *(f"data.{key}" for key in LOCATION_KEYS),
)
"""Keys that may change when a run is resumed: how and where it runs, and what follows it.

``data.on_error`` is one of them: ``stop`` has the same result as ``skip``, or none. Keys of
``trainer`` that change the result of some runs are part of their identity; see
``changes_result``.
"""

UNHASHED_KEYS = (
    *CHANGEABLE_ON_RESUME,
    "name",
    "runs_dir",
    *COMMAND_KEYS,
    "automatic",
    "init_from",  # the content of these weights counts, wherever they come from
    "backbone.pretrained",
)
"""Keys that are no part of a run's identity, because they cannot change its result."""


def changes_result(config: RunConfig, key: str) -> bool:
    """Return True if a run of this config has another result with another value of the key."""
    if key == "trainer.accumulate_grad_batches":  # batch norms see the images of one part
        return config.stage.batch_norm == "train"
    if key == "trainer.num_validations":  # each may end the training
        return config.stage.early_stopping is not None
    return key not in UNHASHED_KEYS and key.split(".")[0] not in UNHASHED_KEYS


def chosen_keys(config: RunConfig) -> set[str]:
    """Return the automatic keys that change a result.

    Where no image is read they have placeholders, which may be the typed values of another run.
    """
    return {key for key in config.automatic if changes_result(config, key)}


def result_settings(config: RunConfig) -> dict[str, Any]:
    """Return the keys that a result depends on, with all values: all but ``UNHASHED_KEYS``.

    Of ``trainer``, and of the keys that earlier versions did not have, they are those whose value
    is not the default.
    """
    keys = [key for key in UNHASHED_KEYS if not changes_result(config, key)]
    settings = config.model_dump(mode="json", exclude=_exclusion(keys, added_keys(config)))
    if not settings["trainer"]:
        del settings["trainer"]
    return settings


def _exclusion(keys: Sequence[str], tree: dict[str, Any]) -> dict[str, Any]:
    """Return dotted keys, beside those of a tree, as pydantic's ``exclude`` expects them."""
    for key in keys:
        group, _, name = key.rpartition(".")
        (tree.setdefault(group, {}) if group else tree)[name] = True
    return tree


def flat_result_settings(config: RunConfig) -> dict[str, str]:
    """Return ``result_settings`` by dotted keys, the values as JSON."""
    return {key: json.dumps(value) for key, value in flatten(result_settings(config)).items()}


def settings_hash(config: RunConfig) -> str:
    """Return a hash of ``result_settings``."""
    return _digest(result_settings(config))


def run_hash(
    config: RunConfig, data_fingerprint: str, init_weights_sha256: str | None = None
) -> str:
    """Return eight hexadecimal digits that identify a run.

    They depend on everything that determines a result, apart from the code, and on nothing else:
    the settings, the data, the content of the weights that the run starts from
    (``init_weights_sha256``) and the schema version.
    """
    part = "network" if config.init_from is not None else "backbone"
    return _digest(
        {
            "schema_version": SCHEMA_VERSION,
            "settings": result_settings(config),
            "data": data_fingerprint,
            "initial_weights": init_weights_sha256 and {part: init_weights_sha256},
        }
    )


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
