"""Everything about a training run that can be wrong before it starts.

Imports wait until they are needed: most mistakes are found without torch.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from deeplab.checkpoints.initialization import adapted, find_init_source
from deeplab.config.parsing import parse, validate
from deeplab.config.schema.data import PLACES
from deeplab.config.schema.logger import LoggerConfig
from deeplab.config.schema.run import ClassifierConfig, RunConfig, TrainConfig, run_schema
from deeplab.config.schema.types import plain
from deeplab.tracking.protocol import strategy_name
from deeplab.tracking.run_folder import RunFolder, read_run
from deeplab.utils.errors import UserError

CHANGEABLE = (
    "resume",
    "eval_after_training",
    "trainer",
    "logger",
    *(f"data.{key}" for key in PLACES),
)
"""What may be typed beside ``resume``: nothing that the result depends on."""

OF_SEGMENTATION = ("aspp", "decoder", "output_stride")
"""What a classifier has not."""

OF_SWEEPS = ("ablation", "preset", "num_seeds", "data_roots", "external_weights")
"""Keys of ``conf/train.yaml`` that a sweep turns into runs."""


def check_train(config: DictConfig) -> RunConfig:
    """The config of the run that a command line asks for.

    Raises:
        UserError: what is wrong, by key.
    """
    if config.get("resume"):
        return _resumed(one_run(config))
    checked = parse_run(config)
    _check_logger(checked.logger)
    _check_strategies(checked)
    if isinstance(checked, ClassifierConfig):
        return _check_classifier(adapted(checked))
    assert isinstance(checked, TrainConfig)
    checked = _check_data(adapted(checked))
    from deeplab.config.build_model import check_model

    model = check_model(checked, num_classes=len(checked.data.classes))
    if start := find_init_source(checked):
        from deeplab.checkpoints.loading import fitting, match_backbone

        if start.key == "init_from":
            fitting(model, start.path, strict=checked.init_strict)
        else:
            match_backbone(model.backbone, start.path)
    return checked


def parse_run(config: DictConfig) -> RunConfig:
    """What was composed, by the schema of what is trained on its data set.

    A classifier has neither ASPP nor decoder nor output stride: these are left out unless they
    were typed.

    Raises:
        UserError: what is wrong, by key.
    """
    config = one_run(config)
    schema = run_schema(config.data)
    if config.name is None:
        with open_dict(config):
            config.name = default_name(config, segmentation=schema is TrainConfig)
    if schema is TrainConfig:
        return parse(schema, config)
    for typed in HydraConfig.get().overrides.task if HydraConfig.initialized() else []:
        key = typed.lstrip("+~").partition("=")[0]
        if key.split(".")[0] in OF_SEGMENTATION:
            raise UserError(f"{typed}: a classifier of whole pictures has none; leave it out.")
    with open_dict(config):
        for key in OF_SEGMENTATION:
            config.pop(key, None)
    return parse(schema, config)


def default_name(config: DictConfig, *, segmentation: bool) -> str:
    """Return the name of a run's folder up to its hash: what was chosen, and the seed.

    The stage is part of it where it is another than the data set's own.
    """
    chosen = HydraConfig.get().runtime.choices
    parts = list(dict.fromkeys([chosen["data"], chosen["stage"]]))
    parts.append(config.backbone.get("model") or chosen["backbone"])
    if segmentation:
        parts += [f"aspp_{chosen['aspp']}", f"decoder_{chosen['decoder']}"]
        parts.append(f"os{config.output_stride}")
    return "-".join([*parts, f"seed{config.seed}"])


def _check_classifier(config: ClassifierConfig) -> ClassifierConfig:
    """Raises UserError as ``check_train`` does."""
    from deeplab.config.build_classification_data import check_classification_data
    from deeplab.config.build_model import check_classifier

    _check_augmentations(config.data.augmentations)
    check_classification_data(config.data)
    model = check_classifier(config, num_classes=2)
    if start := find_init_source(config):
        from deeplab.checkpoints.loading import match_backbone

        match_backbone(model.backbone, start.path)
    return config


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
                    "python src/train.py -m ablation=table2 num_seeds=3"
                )
    return single


def _check_strategies(config: RunConfig) -> None:
    for name in (name for asked in config.eval_after_training for name in asked.strategies):
        try:
            strategy_name(config, name)
        except ValueError as error:
            raise UserError(f"eval_after_training: {error}.") from None


def _check_logger(config: LoggerConfig) -> None:
    if config.name != "csv" and importlib.util.find_spec(config.name) is None:
        raise UserError(
            f"logger={config.name}: the package {config.name} is not installed; "
            f"pip install {config.name}, or choose logger=csv."
        )


def _check_data(config: TrainConfig) -> TrainConfig:
    """The config with the classes of its data set."""
    from deeplab.config.build_data import check_data

    _check_augmentations(config.data.augmentations)
    data = check_data(config.data)
    if data == config.data:
        return config
    return validate(TrainConfig, plain(config) | {"data": plain(data)})


def _check_augmentations(wanted: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
    from deeplab.data.transforms import compose

    try:
        if wanted:
            compose(wanted)
    except ValueError as error:
        raise UserError(f"data.augmentations: {error}.") from None


def _resumed(config: DictConfig) -> RunConfig:
    """The config of the run to continue, with what this command line may change."""
    folder = RunFolder.find(str(config.resume), key="resume")
    known = OmegaConf.create(plain(read_run(folder)))
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
    known.resume, known.runs_dir = str(folder.path), str(folder.path.parent)
    checked = parse(run_schema(known.data), known)
    _check_logger(checked.logger)
    _check_strategies(checked)
    if isinstance(checked, ClassifierConfig):
        return _check_classifier(checked)
    assert isinstance(checked, TrainConfig)
    return _check_data(checked)


def _value(config: DictConfig, key: str) -> Any:
    """The value of a dotted key, its interpolations resolved."""
    value = OmegaConf.select(config, key)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
