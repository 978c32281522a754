"""What a training starts from, and what follows from it for the config.

``init_from`` names a run or its weights: the whole network starts from it. ``backbone.pretrained``
names a file of ImageNet weights: the backbone does, where ``init_from`` does not say otherwise.

Weights go with the input normalisation and the batch norms' epsilon that they were trained with,
so these are not the config's any more but theirs.
"""

import json
from pathlib import Path
from typing import Any

from deeplab.config import TrainConfig
from deeplab.config.network import BackboneConfig
from deeplab.errors import UserError
from deeplab.normalisation import IMAGENET, INCEPTION
from deeplab.records import WEIGHTS, RunFolder, file_hash, read_config, read_record

TRAINED_WITH = ("mean", "std", "bn_eps")
"""Keys of ``backbone`` that weights have been trained with."""

PUBLIC: dict[str, dict[str, Any]] = {
    "resnet": IMAGENET._asdict() | {"bn_eps": 1e-5},
    "mobilenetv2": IMAGENET._asdict() | {"bn_eps": 1e-5},
    "xception": INCEPTION._asdict() | {"bn_eps": 1e-3},
}
"""What public weights of a family have been trained with (``deeplab.backbones.public``)."""

PUBLIC_WEIGHTS = (*WEIGHTS, ".pth", ".pt", ".bin")
"""The suffixes of files that somebody else has written."""


def start_weights(config: TrainConfig) -> Path | None:
    """The file that the whole network starts from, or the backbone only.

    Raises:
        UserError: it is not there.
    """
    return _network_weights(config) or pretrained_weights(config)


def start_hash(config: TrainConfig) -> str | None:
    """The hash of that file; a resumed run knows it."""
    if config.resume:
        return read_record(RunFolder(config.resume)).get("start_weights")
    path = start_weights(config)
    return file_hash(path) if path else None


def _network_weights(config: TrainConfig) -> Path | None:
    if config.init_from is None:
        return None
    named = Path(config.init_from).expanduser()
    if named.is_file() and named.suffix in WEIGHTS:
        return named
    if found := RunFolder.find(named, key="init_from").weights_file(named):
        return found
    raise UserError(f"init_from={config.init_from}: this run has no weights yet.")


def pretrained_weights(config: TrainConfig) -> Path | None:
    """The file that ``backbone.pretrained`` names.

    Raises:
        UserError: there is none, or it is of no kind that can hold weights.
    """
    if config.backbone.pretrained is None:
        return None
    named = Path(config.backbone.pretrained).expanduser()
    asked = f"backbone.pretrained={config.backbone.pretrained}"
    if not named.is_file():
        raise UserError(f"{asked}: there is no such file.")
    if named.suffix not in PUBLIC_WEIGHTS:
        raise UserError(f"{asked}: weights are in files that end in {', '.join(PUBLIC_WEIGHTS)}.")
    return named


def adapted(config: TrainConfig) -> TrainConfig:
    """The config with what the weights that it starts from have been trained with.

    Raises:
        UserError: the weights are not there.
    """
    if config.backbone.family == "timm":
        own = _timm_values(config.backbone.model)
        unset = [key for key in own if getattr(config.backbone, key) is None]
        config = _trained_with(config, {key: own[key] for key in unset})
    pretrained = pretrained_weights(config)
    for path in filter(None, (_network_weights(config), pretrained)):
        if run := _run_of(path):
            return following(config, run)
    if pretrained and not _of_this_project(pretrained):
        return _trained_with(config, _public(config.backbone))
    return config


def following(config: TrainConfig, before: TrainConfig) -> TrainConfig:
    """The config of a training that starts from the weights that another one ends with."""
    return _trained_with(config, {key: getattr(before.backbone, key) for key in TRAINED_WITH})


def _public(backbone: BackboneConfig) -> dict[str, Any]:
    """What the public weights of a backbone have been trained with."""
    if backbone.family == "timm":
        return _timm_values(backbone.model)
    return PUBLIC[backbone.family]


def _timm_values(model: str) -> dict[str, Any]:
    """The same of a network of timm, whose batch norms know their epsilon themselves."""
    from deeplab.backbones.timm_networks import own_normalisation  # imports torch

    return own_normalisation(model)._asdict() | {"bn_eps": None}


def _trained_with(config: TrainConfig, values: dict[str, Any]) -> TrainConfig:
    return config.model_copy(update={"backbone": config.backbone.model_copy(update=values)})


def _run_of(weights: Path) -> TrainConfig | None:
    """The config of the run that a file of weights lies in, if it lies in one."""
    for folder in weights.resolve().parents[:2]:
        if (folder / "config.yaml").is_file():
            return read_config(RunFolder(folder))
    return None


def _of_this_project(path: Path) -> bool:
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
