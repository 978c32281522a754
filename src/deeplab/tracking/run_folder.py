"""Run folders: what is in them, how they are named, when they are finished.

config.yaml           the resolved config
run.json              command, commit, versions, machine
metrics.csv           losses and scores by step
metrics.json          the result; there once the run is finished
weights.safetensors   the weights that metrics.json speaks of: those of the last step, or with
                      stage.ema_decay their moving average
validation.png        validation images beside truth and prediction
checkpoints/          last.ckpt to continue from, best.ckpt by validation mIoU
evaluations/          what evaluate.py leaves
failure.txt           the error that ended it, until it is started again
lock                  held by the process that trains, whose name is in it
"""

import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from deeplab.config.schema.data import LOCATION_KEYS
from deeplab.config.schema.run import RunConfig, TrainConfig, run_schema
from deeplab.config.schema.types import to_dict
from deeplab.tracking.schema_version import VERSION_STAMP, check_schema_version
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import OWNER_PLACEHOLDER
from deeplab.utils.file_lock import locked as hold
from deeplab.utils.files import write_text

OVERWRITE_HINT = "overwrite=true puts the run aside and trains it again"

SET_ASIDE_MARKER = ".old-"
"""In the names of runs that ``overwrite=true`` has put aside."""

WEIGHTS = (".ckpt", ".safetensors")
"""The suffixes of files that hold weights."""


class RunFolder:
    """The paths of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.config = self.path / "config.yaml"
        self.record = self.path / "run.json"
        self.metrics_csv = self.path / "metrics.csv"
        self.result = self.path / "metrics.json"
        self.weights = self.path / "weights.safetensors"
        self.picture = self.path / "validation.png"
        self.checkpoints = self.path / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.best = self.checkpoints / "best.ckpt"
        self.evaluations = self.path / "evaluations"
        self.failure = self.path / "failure.txt"
        self.lock = self.path / "lock"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end; its result is the last thing that is written."""
        return self.result.is_file()

    @classmethod
    def find(cls, path: str | Path, key: str) -> "RunFolder":
        """The run that a user names by its folder or by a file in it.

        Raises:
            UserError: there is none; ``key`` is the key that was set.
        """
        start = Path(path).expanduser().resolve()
        for folder in (start, start.parent, start.parent.parent):
            if (folder / "config.yaml").is_file() and start.exists():
                return cls(folder)
        what = "is no run folder (no config.yaml in it)" if start.exists() else "does not exist"
        raise UserError(f"{key}={path}: this {what}. Name a folder below runs/ or a file in one.")

    def weights_file(self, named: Path) -> Path | None:
        """The file of this run that was named, or its final weights, or its last checkpoint.

        Raises:
            UserError: the file that was named holds no weights.
        """
        if named.is_file():
            if named.suffix not in WEIGHTS:
                raise UserError(
                    f"{named}: this holds no weights; name the run's folder, or a file in it that "
                    f"ends in {' or '.join(WEIGHTS)}."
                )
            return named.resolve()
        return next((path for path in (self.weights, self.last) if path.is_file()), None)

    def set_aside(self) -> Path:
        """Rename the folder so that its name is free; returns the new path."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        target = self.path.with_name(f"{self.path.name}{SET_ASIDE_MARKER}{stamp}")
        self.path.rename(target)
        return target


def result_settings(config: RunConfig) -> dict[str, Any]:
    """All keys that a result depends on: network, data, recipe and seed; not devices, workers,
    paths or loggers."""
    values = to_dict(config)
    determining: dict[str, Any] = {
        key: values[key]
        for key in ("backbone", "aspp", "decoder", "output_stride", "data", "stage", "seed")
        if key in values  # a classifier has not all of them
    }
    for key in LOCATION_KEYS:
        determining["data"].pop(key, None)
    del determining["backbone"]["pretrained"]  # a path; what lies there counts
    return determining


def flat_result_settings(config: RunConfig) -> dict[str, str]:
    """``settings`` by dotted keys, the values as JSON."""
    return _flat(result_settings(config), "")


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in values.items():
        inner = isinstance(value, Mapping) and value
        found |= _flat(value, f"{prefix}{key}.") if inner else {prefix + key: json.dumps(value)}
    return found


def settings_hash(config: RunConfig) -> str:
    """Changes with ``settings``."""
    return _digest(_hashed_settings(config))


def _hashed_settings(config: RunConfig) -> dict[str, Any]:
    """``settings`` without keys of the stage that came later and are at their defaults, so that
    runs without them keep their names."""
    stage = config.stage.model_dump(mode="json", exclude_defaults=True)
    return result_settings(config) | {"stage": stage}


def run_hash(config: RunConfig, data_fingerprint: str, start: str | None = None) -> str:
    """Eight digits that change with all that determines a result, and with nothing else: the
    settings, the data, and the content of the weights it starts from (``start``, their hash)."""
    determining = _hashed_settings(config) | {"data_fingerprint": data_fingerprint}
    if start:
        determining["start"] = start
    return _digest(determining)


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def write_config(path: Path, config: RunConfig) -> None:
    """The resolved config as YAML."""
    of_the_command: dict[str, Any] = {"resume": None, "overwrite": False, "eval_after_training": []}
    values = VERSION_STAMP | to_dict(config) | of_the_command
    write_text(path, yaml.safe_dump(values, sort_keys=False))


def read_config(folder: RunFolder) -> TrainConfig:
    """The config of a segmentation network's run.

    Raises:
        UserError: as ``read_run`` does, or it is a classifier's.
    """
    config = read_run(folder)
    if not isinstance(config, TrainConfig):
        raise UserError(
            f"{folder.path}: this run is a classifier of whole pictures. evaluate.py run=... "
            "measures it, and a segmentation network starts from it with "
            f"backbone.pretrained={folder.weights}"
        )
    return config


def read_run(folder: RunFolder) -> RunConfig:
    """The config that a run was made with, of whatever kind it is.

    Raises:
        UserError: it is damaged, or of a version with other keys.
    """
    try:
        values = dict(yaml.safe_load(folder.config.read_text()))
        check_schema_version(values, folder.config)
        kept = {key: value for key, value in values.items() if key not in VERSION_STAMP}
        return run_schema(kept.get("data") or {})(**kept)
    except (
        OSError,
        AttributeError,
        TypeError,
        ValueError,
        ValidationError,
        yaml.YAMLError,
    ) as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"{folder.config}: this is no config that this version can read ({first})."
        ) from None


def read_record(folder: RunFolder) -> dict[str, Any]:
    """What ``run.json`` holds, or the beginning of it: W&B's id and every start of the run."""
    if not folder.record.is_file():
        return {**VERSION_STAMP, "wandb_id": secrets.token_hex(4), "sessions": []}
    record = read_json(folder.record)
    check_schema_version(record, folder.record)
    if not isinstance(record.get("sessions"), list) or "wandb_id" not in record:
        raise UserError(f"{folder.record}: this is no record of a run; {OVERWRITE_HINT}.")
    return record


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run folder.

    Raises:
        UserError: it is damaged.
    """
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: this cannot be read ({error}); {OVERWRITE_HINT}.") from None


@contextmanager
def lock_run_folder(folder: RunFolder) -> Iterator[None]:
    """Keep a run folder to this process; the lock goes with the process, however it ends.

    Raises:
        UserError: the folder cannot be made.
        LockedError: another process has it, here or on another machine.
    """
    busy = f"{folder.path}: this run is in progress in {OWNER_PLACEHOLDER}."
    with ExitStack() as stack:
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold(folder.lock, busy, wait=False))
        except OSError as error:
            raise UserError(
                f"runs={folder.path.parent}: a run folder cannot be made there ({error.strerror})."
            ) from None
        yield
