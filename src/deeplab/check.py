"""Everything about a training run that can be wrong before it starts.

Imports wait until they are needed: most mistakes are found without torch.
"""

import importlib.util
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from deeplab.cli import parse, validate
from deeplab.config import LoggerConfig, TrainConfig, plain
from deeplab.config.data import PLACES
from deeplab.errors import UserError
from deeplab.inference.strategy import parse_strategy
from deeplab.records import RunFolder, read_config
from deeplab.starting import adapted, find_start

CHANGEABLE = ("resume", "evaluate", "trainer", "logger", *(f"data.{key}" for key in PLACES))
"""What may be typed beside ``resume``: nothing that the result depends on."""

OF_SWEEPS = ("ablation", "profile", "seeds", "roots", "supplies")
"""Keys of ``conf/train.yaml`` that a sweep turns into runs."""


def check_train(config: DictConfig) -> TrainConfig:
    """The config of the run that a command line asks for.

    Raises:
        UserError: what is wrong, by key.
    """
    config = one_run(config)
    if config.get("resume"):
        return _resumed(config)
    checked = parse(TrainConfig, config)
    _check_logger(checked.logger)
    _check_strategies(checked)
    checked = _check_data(adapted(checked))
    from deeplab.builder import check_model

    model = check_model(checked, num_classes=len(checked.data.classes))
    if start := find_start(checked):
        from deeplab.weights import fitting, fitting_backbone

        if start.key == "init_from":
            fitting(model, start.path, strict=checked.init_strict)
        else:
            fitting_backbone(model.backbone, start.path)
    return checked


def one_run(config: DictConfig) -> DictConfig:
    """The config without the keys that stand for several runs.

    Raises:
        UserError: one of them is set.
    """
    single = config.copy()
    with open_dict(single):
        for key in OF_SWEEPS:
            if single.pop(key, None):
                raise UserError(
                    f"{key}: this stands for several runs; add -m, as in "
                    "python src/train.py -m ablation=table2 seeds=3"
                )
    return single


def _check_strategies(config: TrainConfig) -> None:
    for name in (name for asked in config.evaluate for name in asked.strategies):
        try:
            parse_strategy(name, output_stride=config.output_stride)
        except ValueError as error:
            raise UserError(f"evaluate: {error}.") from None


def _check_logger(config: LoggerConfig) -> None:
    if config.name != "csv" and importlib.util.find_spec(config.name) is None:
        raise UserError(
            f"logger={config.name}: the package {config.name} is not installed; "
            f"pip install {config.name}, or choose logger=csv."
        )


def _check_data(config: TrainConfig) -> TrainConfig:
    """The config with the classes of its data set."""
    from deeplab.data.transforms import compose
    from deeplab.datasets import check_data

    try:
        if config.data.augmentations:
            compose(config.data.augmentations)
    except ValueError as error:
        raise UserError(f"data.augmentations: {error}.") from None
    data = check_data(config.data)
    if data == config.data:
        return config
    return validate(TrainConfig, plain(config) | {"data": plain(data)})


def _resumed(config: DictConfig) -> TrainConfig:
    """The config of the run to continue, with what this command line may change."""
    folder = RunFolder.find(str(config.resume), key="resume")
    known = OmegaConf.create(plain(read_config(folder)))
    typed = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    for override in typed:
        key, _, text = override.lstrip("+~").partition("=")
        asked = _value(config, key)
        if key in CHANGEABLE or key.split(".")[0] in CHANGEABLE:
            OmegaConf.update(known, key, asked, merge=False)
        elif asked != _value(known, key):
            raise UserError(
                f"{key}={text}: a resumed run keeps its own settings, and this one has another "
                f"{key}. Leave it out, or start a new run without resume."
            )
    known.resume, known.runs = str(folder.path), str(folder.path.parent)
    checked = parse(TrainConfig, known)
    _check_logger(checked.logger)
    _check_strategies(checked)
    return _check_data(checked)


def _value(config: DictConfig, key: str) -> Any:
    """The value of a dotted key, its interpolations resolved."""
    value = OmegaConf.select(config, key)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
