"""Checks of a training config before the run starts.

Imports are delayed until they are needed, since most mistakes are found without torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from deeplab.checkpoints.initialization import adapt_to_weights, find_init_source
from deeplab.config.defaults import default_values
from deeplab.config.own_nodes import changed_code, check_foreign, trust_config, with_versions
from deeplab.config.parsing import parse, validate
from deeplab.config.paths import OWN_GROUPS, script_groups
from deeplab.config.schema.logger import LoggerSettings
from deeplab.config.schema.run import (
    ClassifierConfig,
    RunConfig,
    SweepConfig,
    TrainConfig,
    run_schema,
)
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.data.pixel_format import RGB_CHANNELS
from deeplab.metrics.definitions import objective_metric
from deeplab.tracking.evaluation_protocol import resolve_strategy_name
from deeplab.tracking.run_folder import RunFolder, read_run
from deeplab.tracking.run_identity import CHANGEABLE_ON_RESUME, changes_result
from deeplab.tracking.wandb_run import check_wandb
from deeplab.training.automatic import choose_automatic
from deeplab.utils.constants import TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.own_code.node import VERSION, OwnCode, targets
from deeplab.utils.own_code.trust import trust
from deeplab.utils.program import command
from deeplab.utils.settings import find_holder, to_dict

SEGMENTATION_KEYS = TrainConfig.model_fields.keys() - ClassifierConfig.model_fields.keys()
"""Keys that only segmentation networks have."""

SWEEP_KEYS = ("ablation", "preset", *SweepConfig.model_fields)
"""Keys of ``conf/train.yaml`` that define several runs."""


def check_train(config: DictConfig) -> RunConfig:
    """Return the checked config of a run.

    Raises:
        UserError: a key or file is wrong.
    """
    resumed = bool(config.get("resume"))
    if resumed:
        checked = _resumed_config(single_run_config(config))
        _check_own_code(checked)
    else:
        checked = choose_automatic(parse_run(config))
    _check_logger(checked.logger)
    _check_trainer(checked)
    _check_strategies(checked)
    try:
        objective_metric(checked.objective, is_classifier=isinstance(checked, ClassifierConfig))
    except ValueError as error:
        raise UserError(f"{error}.") from None
    if checked.trainer.fast_dev_run:
        checked = _as_test(checked)
    if not resumed:
        checked = adapt_to_weights(checked)
    checked = _check_data(checked)
    if not resumed:
        _check_network(checked)
    return checked


def _check_network(config: RunConfig) -> None:
    """Check that the network can be built, and that its initial weights fit."""
    from deeplab.checkpoints.matching import initialize_from, load_backbone
    from deeplab.config.build_model import check_classifier, check_model
    from deeplab.training.own_code import check_own_network, try_own_code

    check_own_network(config)
    model: Any
    if isinstance(config, TrainConfig):
        model = check_model(config, num_classes=len(config.data.classes))
    else:
        assert isinstance(config, ClassifierConfig)
        model = check_classifier(config, num_classes=2)
    try_own_code(config, model)
    _check_gradient_checkpointing(config, model.backbone)
    if init := find_init_source(config):
        if isinstance(config, TrainConfig) and init.key == "init_from":
            initialize_from(
                model, init.path, classes=config.data.classes, strict=config.init_strict
            )
        else:
            load_backbone(model.backbone, init.path)


def _check_gradient_checkpointing(config: RunConfig, backbone: Any) -> None:
    try:
        backbone.set_gradient_checkpointing(config.trainer.gradient_checkpointing)
    except ValueError as error:
        raise UserError(f"trainer.gradient_checkpointing=true: {error}. Leave it out.") from None


def parse_run(config: DictConfig, *, trusted: bool = True) -> RunConfig:
    """Parse a composed config, with the versions of the classes of the user's own in it.

    Automatic keys have any values.

    Args:
        config: the composed config.
        trusted: these classes may be imported.

    Raises:
        UserError: a key is wrong.
    """
    parsed = with_versions(_parse(config))
    if trusted:
        trust_config(parsed)
    return parsed


def _parse(config: DictConfig) -> RunConfig:
    """Parse a composed config with the schema of its data set's task.

    A classifier has no ASPP, decoder and output stride. Their defaults are removed from the
    config; giving them on the command line is an error.

    Raises:
        UserError: a key is wrong.
    """
    config = single_run_config(config)
    groups = TrainConfig.model_fields.keys() & script_groups("train")
    if missing := sorted(groups - config.keys()):
        raise UserError(f"{missing[0]}: this group is missing. Remove the ~ before its name.")
    schema = run_schema(config.data)
    if config.name is None:
        with open_dict(config):
            config.name = default_name(config, segmentation=schema is TrainConfig)
    if schema is TrainConfig:
        return parse(schema, config)
    for override in HydraConfig.get().overrides.task if HydraConfig.initialized() else []:
        key = override.lstrip("+~").partition("=")[0]
        if key.split(".")[0] in SEGMENTATION_KEYS:
            problem = f"an image classifier has no {key}"
            if key.split(".")[0] == "loss":
                problem = "the loss of an image classifier follows from its labels"
            raise UserError(f"{override}: {problem}. Leave it out.")
    with open_dict(config):
        for key in SEGMENTATION_KEYS:
            config.pop(key, None)
    return parse(schema, config)


def default_name(config: DictConfig, *, segmentation: bool) -> str:
    """Return the name of a run folder, without its hash: the selected configs and the seed.

    The stage is part of it if it is not the data set's default.
    """
    choices = HydraConfig.get().runtime.choices
    parts = list(dict.fromkeys([_choice(config, "data"), choices["stage"]]))
    parts.append(config.backbone.get("model") or _choice(config, "backbone"))
    if segmentation:
        parts += [f"{group}_{_choice(config, group)}" for group in ("aspp", "decoder")]
        parts.append(f"os{config.output_stride}")
    return "-".join([*parts, f"seed{config.seed}"])


def _choice(config: DictConfig, group: str) -> str:
    """Return the chosen file of a group, or the name of the class that the command line names."""
    choice = str(HydraConfig.get().runtime.choices[group])
    return str(config[group][TARGET]).rpartition(".")[2] if choice == "own" else choice


def single_run_config(config: DictConfig) -> DictConfig:
    """Return the config without the keys that define several runs.

    Raises:
        UserError: one of these keys is set.
    """
    single = config.copy()
    with open_dict(single):
        for key in SWEEP_KEYS:
            if single.pop(key, None) not in (None, {}):
                raise UserError(
                    f"{key}: this key defines several runs. Add -m, as in "
                    f"{command('train')} -m ablation=table2 num_seeds=3."
                )
    return single


def _check_strategies(config: RunConfig) -> None:
    for evaluation in config.strategies:
        try:
            resolve_strategy_name(config, evaluation.strategy)
        except ValueError as error:
            raise UserError(f"strategies: {error}.") from None


def _check_trainer(config: RunConfig) -> None:
    """Check what depends on several groups."""
    algorithm = config.trainer.gradient_clip_algorithm
    if algorithm and config.stage.gradient_clip_val is None:
        raise UserError(
            f"trainer.gradient_clip_algorithm={algorithm}: has no effect without a limit. Set "
            "stage.gradient_clip_val."
        )
    patience, validations = config.stage.early_stopping, config.trainer.num_validations
    if patience is not None and validations < patience + 2:  # the first and the last one included
        raise UserError(
            f"stage.early_stopping={patience}: ends no training that has "
            f"trainer.num_validations={validations}. Set it to {patience + 2} or more."
        )
    if config.trainer.fast_dev_run and config.resume:
        raise UserError(
            f"resume={config.resume}: a test (trainer.fast_dev_run) continues no run. Leave one of "
            "them out."
        )


def _as_test(config: RunConfig) -> RunConfig:
    """Return the config of a short run that is not kept (``trainer.fast_dev_run``)."""
    batches = int(config.trainer.fast_dev_run)
    stage, trainer = config.stage, config.trainer
    return config.model_copy(
        update={
            "stage": stage.model_copy(
                update={
                    "max_steps": batches,
                    "warmup_steps": min(stage.warmup_steps, batches - 1),
                }
            ),
            "trainer": trainer.model_copy(
                update={"limit_val_batches": batches, "num_validations": 1}
            ),
            "logger": LoggerSettings(name="csv"),
            "strategies": (),
            "overwrite": False,
            "runs_dir": str(Path(config.runs_dir, ".fast_dev_run")),
        }
    )


def _check_logger(config: LoggerSettings) -> None:
    if config.name == "tensorboard":
        require_extra(
            "tensorboard",
            "tensorboard",
            setting="logger=tensorboard",
            alternative="choose logger=csv",
        )
    if config.name == "wandb":
        check_wandb(config.mode)


def _check_data(config: RunConfig) -> RunConfig:
    """Check the data set and return the config with its classes and channels, if it has masks."""
    from deeplab.config.build_data import with_in_channels
    from deeplab.data.layouts.base import check_data

    assert isinstance(config, TrainConfig | ClassifierConfig)
    _check_augmentations(config.data.augmentations)
    data = check_data(config.data)
    if not isinstance(config, TrainConfig):
        return config
    _check_augmented_channels(config.data.augmentations, data.pixel_format.channels)
    if data != config.data:
        config = validate(TrainConfig, to_dict(config) | {"data": to_dict(data)})
    return with_in_channels(config)


def _check_augmentations(
    augmentations: Sequence[Mapping[str, Mapping[str, Any]] | OwnCode],
) -> None:
    from deeplab.data.further_augmentations import build_augmentations

    try:
        if augmentations:
            build_augmentations(augmentations)
    except ValueError as error:
        raise UserError(f"data.augmentations: {error}.") from None


def _check_augmented_channels(augmentations: Sequence[Any], channels: int) -> None:
    """Raise UserError for an augmentation of albumentations that is for RGB only."""
    import numpy as np

    from deeplab.data.further_augmentations import augment, build_augmentations

    if channels == RGB_CHANNELS:
        return
    for entry in augmentations:
        if isinstance(entry, OwnCode):
            continue
        ((name, arguments),) = entry.items()
        always = build_augmentations([{name: {**arguments, "p": 1.0}}])
        assert always is not None
        image, mask = np.zeros((64, 64, channels), np.uint8), np.zeros((64, 64), np.uint8)
        try:
            augment(always, np.random.default_rng(0), image=image, mask=mask)
        except Exception as error:
            raise UserError(
                f"data.augmentations: {name} fails for images of {channels} channels "
                f"({' '.join(str(error).split())[:150]}). Leave it out."
            ) from None


def _resumed_config(config: DictConfig) -> RunConfig:
    """Return the config of the run to resume, with the overrides that are allowed for it."""
    folder = RunFolder.find(str(config.resume), key="resume")
    run = read_run(folder)
    stored = to_dict(run)  # not as OmegaConf, which would interpolate its values
    stored["trainer"] = default_values(TrainerSettings) | stored["trainer"]
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    for override in overrides:
        key, _, text = override.lstrip("+~").partition("=")
        if key in OWN_GROUPS and text == "own":  # its keys are compared one by one
            continue
        value, (holder, name) = _value(config, key), find_holder(stored, key)
        may_change = key in CHANGEABLE_ON_RESUME or key.split(".")[0] in CHANGEABLE_ON_RESUME
        if may_change and not changes_result(run, key):
            holder[name] = value
        elif value != _without_version(holder.get(name)):
            raise UserError(
                f"{key}={text}: a resumed run keeps its settings, and this run has another {key}. "
                "Leave it out, or start a new run without resume; with init_from="
                f"{config.resume} it starts from the weights of this one."
            )
    stored |= {"resume": str(folder.path), "runs_dir": str(folder.path.parent)}
    trust(targets(OmegaConf.to_container(config, resolve=True)))  # those that are typed again
    return validate(run_schema(stored["data"]), stored)


def _check_own_code(config: RunConfig) -> None:
    """Check that the classes of a run to resume may be imported, and have not changed.

    Raises:
        UserError: they may not, or have.
    """
    source = str(RunFolder(str(config.resume)).config)
    check_foreign(config, source, trusted=config.trust_remote_code)
    changed = changed_code(config)
    if changed and not config.resume_with_other_code:
        raise UserError(
            f"resume_with_other_code=false: the code of {changed} has changed since "
            "this run was started. Go back to that code, train anew by the run's first command, or "
            "set resume_with_other_code=true to continue with the present code."
        )


def _value(config: DictConfig, key: str) -> Any:
    """Return the value of a dotted key with interpolations resolved."""
    value = OmegaConf.select(config, key)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _without_version(value: Any) -> Any:
    """Return the value of a key as it is typed: a class without its version."""
    if isinstance(value, dict):
        return {k: _without_version(v) for k, v in value.items() if k != VERSION}
    return value
