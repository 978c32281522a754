"""What a training starts from, and what follows from it for the config.

``init_from`` names a run or its weights, here or on the Hugging Face hub: the whole network starts
from it, or the backbone where it is one of classification. ``backbone.pretrained`` names a file of
ImageNet weights, or ``imagenet`` for those that others have published: the backbone starts from
them, unless there is ``init_from``.

Weights go with the input normalization and the batch norms' epsilon that they were trained with,
so these are not the config's any more but theirs.
"""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import yaml

from deeplab.checkpoints.hub import (
    WEIGHT_SUFFIXES,
    LocalWeights,
    NotDownloadedError,
    hub_id,
    fetch_published_weights,
    fetch_run_weights,
)
from deeplab.checkpoints.pretrained import IMAGENET as BY_NAME
from deeplab.checkpoints.pretrained import find_published_weights
from deeplab.config.parsing import validate
from deeplab.config.schema.model import BackboneConfig
from deeplab.config.schema.run import RunConfig
from deeplab.models.normalization import IMAGENET, INCEPTION
from deeplab.tracking.run_folder import WEIGHTS, RunFolder, read_record
from deeplab.tracking.schema_version import check_schema_version
from deeplab.utils.errors import UserError
from deeplab.utils.files import file_hash

R = TypeVar("R", bound=RunConfig)

NORMALIZATION_KEYS = ("mean", "std", "bn_eps")
"""Keys of ``backbone`` that weights have been trained with."""

PUBLIC_NORMALIZATION: dict[str, dict[str, Any]] = {
    "resnet": IMAGENET._asdict() | {"bn_eps": 1e-5},
    "mobilenetv2": IMAGENET._asdict() | {"bn_eps": 1e-5},
    "xception": INCEPTION._asdict() | {"bn_eps": 1e-3},
}
"""What public weights of a family have been trained with (``deeplab.checkpoints.key_mapping``)."""


Key = Literal["init_from", "backbone.pretrained"]


class InitSource(NamedTuple):
    """A file that a network starts from."""

    key: Key
    """What has named it."""
    path: Path
    source: str
    """Where it is from: its path, or where it was downloaded."""
    about: str = ""
    """What is known of it."""


def find_init_source(config: RunConfig, *, download: bool = True) -> InitSource | None:
    """What the whole network starts from, or the backbone only; None for random weights.

    Args:
        config: of a training.
        download: whether to fetch what is not here.

    Raises:
        UserError: it is not there.
        NotDownloadedError: it would have to be downloaded.
    """
    if config.init_from is not None:
        return _find("init_from", config.init_from, config, download)
    named = config.backbone.pretrained
    if named != BY_NAME:
        return _find("backbone.pretrained", named, config, download) if named else None
    what = find_published_weights(config.backbone)
    found = fetch_published_weights(
        what,
        asked=f"backbone.pretrained={named}",
        download=download,
        progress=config.trainer.enable_progress_bar,
    )
    return InitSource("backbone.pretrained", *found, about=what.about)


def _find(key: Key, named: str, config: RunConfig, download: bool) -> InitSource:
    """The file of weights that a key names by its path, by that of a run, or on the hub."""
    asked, path = f"{key}={named}", Path(named).expanduser()
    public = key == "backbone.pretrained"
    suffixes = WEIGHT_SUFFIXES if public else WEIGHTS
    if where := hub_id(named):
        progress = config.trainer.enable_progress_bar
        found = fetch_run_weights(where, asked=asked, download=download, progress=progress)
        return InitSource(key, *found)
    if path.is_file() and path.suffix in suffixes:
        return InitSource(key, *LocalWeights(path, str(path)))
    if public and not path.is_dir():
        if not path.exists():
            raise UserError(f"{asked}: there is no such file.")
        raise UserError(f"{asked}: weights are in files that end in {', '.join(suffixes)}.")
    weights = RunFolder.find(named, key=key).weights_file(path)
    if weights is None:
        raise UserError(f"{asked}: this run has no weights yet.")
    return InitSource(key, weights, str(weights))


def init_source_hash(config: RunConfig, *, download: bool = True) -> str | None:
    """The hash of that file; raises as ``find_init_source`` does."""
    start = find_init_source(config, download=download)
    return file_hash(start.path) if start else None


def init_record(config: RunConfig) -> dict[str, Any]:
    """What ``run.json`` keeps of it: its hash and where it is from; a resumed run knows them."""
    if config.resume:
        record = read_record(RunFolder(config.resume))
        return {key: record.get(key) for key in ("init_weights_sha256", "init_source")}
    start = find_init_source(config)
    sha = file_hash(start.path) if start else None
    return {"init_weights_sha256": sha, "init_source": start.source if start else None}


def adapt_to_weights(config: R, *, download: bool = True) -> R:
    """The config with what the weights that it starts from have been trained with. Where these are
    a run's that would have to be downloaded but is not to be, it stays as it is.

    Raises:
        UserError: the weights are not there.
    """
    if config.backbone.family == "timm":
        own = _timm_normalization(config.backbone.model)
        unset = [key for key in own if getattr(config.backbone, key) is None]
        config = _with_normalization(config, {key: own[key] for key in unset})
    if config.init_from is None and config.backbone.pretrained == BY_NAME:
        find_published_weights(config.backbone)
        return _with_normalization(config, _public_normalization(config.backbone))
    try:
        start = find_init_source(config, download=download)
    except NotDownloadedError:
        return config
    if start is None:
        return config
    if values := _recorded_normalization(start.path):
        return _with_normalization(config, values)
    if start.key == "backbone.pretrained" and not _has_project_names(start.path):
        return _with_normalization(config, _public_normalization(config.backbone))
    return config


def adapt_to_previous_run(config: R, before: RunConfig) -> R:
    """The config of a training that starts from the weights that another one ends with."""
    return _with_normalization(config, {key: getattr(before.backbone, key) for key in NORMALIZATION_KEYS})


def _public_normalization(backbone: BackboneConfig) -> dict[str, Any]:
    """What the public weights of a backbone have been trained with."""
    if backbone.family == "timm":
        return _timm_normalization(backbone.model)
    return PUBLIC_NORMALIZATION[backbone.family]


def _timm_normalization(model: str) -> dict[str, Any]:
    """The same of a network of timm, whose batch norms know their epsilon themselves."""
    from deeplab.models.backbones.timm_models import pretrained_normalization  # imports torch

    return pretrained_normalization(model)._asdict() | {"bn_eps": None}


def _with_normalization(config: R, values: dict[str, Any]) -> R:
    backbone = validate(type(config.backbone), config.backbone.model_dump() | values)
    return config.model_copy(update={"backbone": backbone})


def _recorded_normalization(weights: Path) -> dict[str, Any] | None:
    """What the config of the run says that a file of weights lies in, if it lies in one: that of
    any training, a segmentation's or not."""
    for folder in (*weights.absolute().parents[:2], *weights.resolve().parents[:2]):
        try:
            values = dict(yaml.safe_load((folder / "config.yaml").read_text()))
            backbone = values["backbone"]
            check_schema_version(values, folder / "config.yaml")
            return {key: backbone[key] for key in NORMALIZATION_KEYS}
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
            continue
    return None


def _has_project_names(path: Path) -> bool:
    """Whether the names in the file are this project's: then the config has their values already.

    Reads a few kilobytes and needs no torch.
    """
    if path.suffix == ".ckpt":
        return True
    if path.suffix != ".safetensors":
        return False
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size:
            return False
        try:
            names = json.loads(file.read(size))
        except ValueError:
            return False
    return any(name.startswith(("backbone.", "units.", "timm.")) for name in names)
