"""Initial weights: resolves their file and adapts the config to them.

``init_from`` names a run or its weights, on this machine or on the Hugging Face hub: the whole
network starts from it, or only the backbone if the run is a classifier. ``backbone.pretrained``
names a file of ImageNet weights, or ``imagenet`` for published ones: the backbone starts from them,
unless ``init_from`` is set.

Weights need the input normalization and the batch norms' epsilon that they were trained with, so
these values come from the weights and not from the config.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from deeplab.checkpoints.hub import (
    NotDownloadedError,
    fetch_published_weights,
    fetch_run_weights,
    hub_id,
)
from deeplab.checkpoints.model_zoo import cached_weights, fetch_zoo_network, find_zoo_network
from deeplab.checkpoints.pretrained import IMAGENET_WEIGHTS, find_published_weights
from deeplab.checkpoints.run_weights import (
    BACKBONE_PREFIX,
    RUN_WEIGHT_SUFFIXES,
    WEIGHT_SUFFIXES,
    WEIGHTS_HINT,
    check_weights,
    find_run_weights,
    read_header,
    weights_hash,
)
from deeplab.config.parsing import validate
from deeplab.config.schema.model import BackboneSettings
from deeplab.config.schema.run import RunConfig
from deeplab.models.normalization import IMAGENET, INCEPTION
from deeplab.tracking.run_folder import (
    RESTORE_HINT,
    RunFolder,
    read_run,
)
from deeplab.tracking.run_record import read_record
from deeplab.utils.constants import CONSTANTS
from deeplab.utils.errors import UserError
from deeplab.utils.reading import exists, read_values, report_damage
from deeplab.utils.settings import AUTO

R = TypeVar("R", bound=RunConfig)

NORMALIZATION_KEYS = ("mean", "std", "bn_eps")
"""Keys of ``backbone`` that belong to the weights."""

PUBLIC_NORMALIZATION: dict[str, dict[str, Any]] = {
    "resnet": IMAGENET._asdict() | {"bn_eps": 1e-5},
    "mobilenetv2": IMAGENET._asdict() | {"bn_eps": 1e-5},
    "xception": INCEPTION._asdict() | {"bn_eps": 1e-3},
}
"""Normalization of each family's public weights (``deeplab.checkpoints.pretrained``)."""

PROJECT_PREFIXES = ("units.", "timm.")
"""Prefixes of some backbone names that only this project uses."""

Key = Literal["init_from", "backbone.pretrained"]


class InitSource(NamedTuple):
    """Weight file that a network starts from."""

    key: Key
    """Config key that named the file."""
    path: Path
    source: str
    """Origin of the file: its path, or where it was downloaded from."""
    description: str = ""
    """Known facts about the weights."""


def find_init_source(config: RunConfig, *, download: bool = True) -> InitSource | None:
    """Return the weights that the network or its backbone starts from; None for random weights.

    Args:
        config: config of a training run.
        download: whether to download weights that are not on this machine.

    Raises:
        UserError: the weights do not exist.
        NotDownloadedError: they must be downloaded, and ``download`` is false.
    """
    if config.init_from is not None:
        return _find("init_from", config.init_from, config, download)
    pretrained = config.backbone.pretrained
    if pretrained != IMAGENET_WEIGHTS:
        key: Key = "backbone.pretrained"
        if pretrained in (None, AUTO):  # a config that was made without Hydra keeps ``auto``
            return None
        return _find(key, pretrained, config, download)
    weights = find_published_weights(config.backbone)
    local = fetch_published_weights(
        weights,
        setting=f"backbone.pretrained={pretrained}",
        download=download,
        progress=config.trainer.enable_progress_bar,
    )
    return InitSource("backbone.pretrained", *local, description=weights.description)


def _find(key: Key, value: str, config: RunConfig, download: bool) -> InitSource:
    """Return the weights that a key names by their path, by a run's path, or on the hub."""
    setting, path = f"{key}={value}", Path(value).expanduser()
    public = key == "backbone.pretrained"
    suffixes = WEIGHT_SUFFIXES if public else RUN_WEIGHT_SUFFIXES
    progress = config.trainer.enable_progress_bar
    if hub := hub_id(value, key):
        local = fetch_run_weights(hub, setting=setting, download=download, progress=progress)
        return InitSource(key, *local)
    if not public and (network := find_zoo_network(value, key)):
        if not download and not cached_weights(network):
            raise NotDownloadedError(f"{setting}: {network.address} must be downloaded first.")
        weights = fetch_zoo_network(network, setting=setting, progress=progress)
        return InitSource(key, weights, network.address, f"mIoU {network.score}")
    if path.is_file() and path.suffix in suffixes:
        check_weights(path)
        return InitSource(key, path, str(path))
    if public and not path.is_dir():
        if not path.exists():
            raise UserError(f"{setting}: no such file.")
        raise UserError(f"{setting}: not a weight file. Weight files end in {', '.join(suffixes)}.")
    _, weights = find_run_weights(value, key)
    return InitSource(key, weights, str(weights))


def init_record(config: RunConfig, *, download: bool = True) -> tuple[str | None, str | None]:
    """Return the hash and the origin of the initial weights; raises as ``find_init_source`` does.

    A resumed run has them in its record already.
    """
    if config.resume:
        record = read_record(RunFolder(config.resume))
        return record.init_weights_sha256, record.init_source
    init = find_init_source(config, download=download)
    return (weights_hash(init.path), init.source) if init else (None, None)


def adapt_to_weights(config: R, *, download: bool = True) -> R:
    """Return the config with the normalization that its initial weights were trained with.

    If these are a run's weights that must be downloaded, and ``download`` is false, the config
    stays as it is.

    Raises:
        UserError: the weights do not exist.
    """
    if config.backbone.family == "timm":
        timm_values = _timm_normalization(config.backbone.model)
        unset = [key for key in timm_values if getattr(config.backbone, key) is None]
        config = _with_normalization(config, {key: timm_values[key] for key in unset})
    if config.init_from is None and config.backbone.pretrained == IMAGENET_WEIGHTS:
        find_published_weights(config.backbone)
        return _with_normalization(config, _public_normalization(config.backbone))
    try:
        init = find_init_source(config, download=download)
    except NotDownloadedError:
        return config
    if init is None:
        return config
    if values := _recorded_normalization(init.path):
        return _with_normalization(config, values)
    names, values = _read_names(init.path)
    if init.key == "backbone.pretrained" and not _are_of_project(names):
        values = _public_normalization(config.backbone)
    return _with_normalization(config, values)


def adapt_to_previous_run(config: R, previous: RunConfig) -> R:
    """Return the config with the normalization of the run whose final weights it starts from."""
    return _with_normalization(config, _normalization(previous))


def _normalization(run: RunConfig) -> dict[str, Any]:
    keys = [key for key in NORMALIZATION_KEYS if key in type(run.backbone).model_fields]
    return {key: getattr(run.backbone, key) for key in keys}


def _public_normalization(backbone: BackboneSettings) -> dict[str, Any]:
    """Return the normalization of a backbone's public weights."""
    if backbone.family == "timm":
        return _timm_normalization(backbone.model)
    return PUBLIC_NORMALIZATION.get(backbone.family, {})


def _timm_normalization(model: str) -> dict[str, Any]:
    """Return the normalization of a timm network; its batch norms have their own epsilon."""
    from deeplab.models.backbones.timm_models import pretrained_normalization  # imports torch

    return pretrained_normalization(model)._asdict() | {"bn_eps": None}


def _with_normalization(config: R, values: dict[str, Any]) -> R:
    known = {k: v for k, v in values.items() if k in type(config.backbone).model_fields}
    backbone = validate(type(config.backbone), config.backbone.model_dump() | known)
    return config.model_copy(update={"backbone": backbone})


def _read_names(path: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the names in a file of weights, and the normalization that it holds, if any.

    Raises:
        UserError: the file is damaged.
    """
    if path.suffix == ".safetensors" and CONSTANTS not in read_header(path).names:
        return read_header(path).names, {}
    from deeplab.checkpoints.loading import read_entries  # imports torch

    entries = read_entries(path)
    if CONSTANTS not in entries:
        return list(entries), {}
    with report_damage(path, WEIGHTS_HINT):
        mean, std, (eps, *_) = entries[CONSTANTS].tolist()
    return list(entries), {"mean": mean, "std": std} | ({"bn_eps": eps} if eps else {})


def _are_of_project(names: Iterable[str]) -> bool:
    return any(name.removeprefix(BACKBONE_PREFIX).startswith(PROJECT_PREFIXES) for name in names)


def _recorded_normalization(weights: Path) -> dict[str, Any] | None:
    """Return the normalization in the config of the run that a weight file belongs to.

    The run may be of any task. The result is None if the file is not in a run folder.

    Raises:
        UserError: the run has another schema version.
    """
    for path in dict.fromkeys((weights.absolute(), weights.resolve())):
        folder = path.parent.parent if path.parent.name == "checkpoints" else path.parent
        run = RunFolder(folder)
        if exists(run.config):
            values = read_values(run.config, RESTORE_HINT)
            if isinstance(values.get("backbone"), dict):  # else another program's config
                return _normalization(read_run(run))
    return None
