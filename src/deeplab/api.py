"""The framework from Python: networks, trainings, evaluations and predictions in a line each.

Every function can be called in a notebook, in a script or inside of another Hydra application, as
often as one likes. A mistake of the caller is a ``UserError`` with the message of the scripts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import open_dict

from deeplab.checkpoints.initialization import adapt_to_weights, find_init_source
from deeplab.checkpoints.pretrained import HUB_SCHEME, IMAGENET, find_published_weights
from deeplab.config.compose import composed
from deeplab.config.hydra_app import quote_value
from deeplab.config.own_nodes import trust_config
from deeplab.config.paths import group_choices
from deeplab.config.schema.run import TrainConfig
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.training.validate_config import parse_run
from deeplab.utils.errors import UserError

if TYPE_CHECKING:
    from deeplab.config.schema.run import RunConfig
    from deeplab.data.datamodules import SegmentationData
    from deeplab.tools.predict.trained_model import TrainedModel
    from deeplab.tracking.result import Result

Part = str | Mapping[str, Any]
"""Name of a choice of a config group, or keys over its choice ``full``."""


def list_models(filter: str = "*", *, pretrained: bool = False) -> list[str]:
    """Return the names of backbones for ``create_model``, in alphabetical order.

    Args:
        filter: pattern of the names, such as ``resnet*``.
        pretrained: list only those with published ImageNet weights.
    """
    names = sorted(name for name in group_choices("backbone") if fnmatch(name, filter))
    return [name for name in names if not pretrained or _has_weights(name)]


def _has_weights(name: str) -> bool:
    if name == "timm":  # some of its networks have
        return True
    try:
        find_published_weights(_model_config(name, "full", "full", 16, {}).backbone)
    except UserError:
        return False
    return True


def create_model(
    backbone: str = "xception",
    *,
    decoder: Part = "full",
    aspp: Part = "full",
    output_stride: int = 16,
    num_classes: int = 21,
    in_channels: int = 3,
    pretrained: bool | str | PathLike[str] | None = None,
    **backbone_keys: Any,
) -> DeepLabV3Plus:
    """Return a DeepLabv3+ as a plain ``nn.Module``, for any training loop.

    It maps images ``(N, in_channels, H, W)`` of any size and dtype, with values from 0 to 255, to
    logits ``(N, num_classes, h, w)`` on the decoder's grid (a quarter of each side for the paper's
    decoder). The normalization is inside. ``set_output_stride`` changes the output stride later,
    with the same weights.

    >>> create_model("resnet50", decoder="naive", output_stride=8, pretrained=True)
    >>> create_model("timm", model="convnext_tiny", num_classes=19)
    >>> create_model(decoder={"low_level": ["conv3", "conv2"], "convs": [[3, 256]]})

    Args:
        backbone: a name of ``list_models()``: a file of ``conf/backbone``.
        decoder: a name of ``conf/decoder``, such as ``full``, ``naive`` or ``separable``; or
            keyword arguments of ``deeplab.models.Decoder``.
        aspp: a name of ``conf/aspp``, such as ``full``, ``no_pooling`` or ``separable``; or keyword
            arguments of ``deeplab.models.ASPP``.
        output_stride: 8, 16 or 32.
        num_classes: number of classes, including the background.
        in_channels: channels of the images. The mean and the standard deviation of RGB are averaged
            for a single channel and repeated for several. So is the first convolution of pretrained
            weights: summed for one channel; repeated, and scaled to the same sum, for several.
        pretrained: weights of the backbone: True or ``imagenet`` for the published ones, which are
            downloaded once; or a file, a run folder or ``hf://user/name``. False or None: random
            weights. (A whole trained network: ``deeplab.load(...).model``.)
        backbone_keys: further keyword arguments of the backbone, as in ``docs/keys.md``.

    Raises:
        UserError: a name, key or value is wrong, the parts do not fit each other, or the weights
            cannot be had or do not fit.
    """
    from deeplab.checkpoints.loading import load_backbone
    from deeplab.config.build_model import build_model

    if type(num_classes) is not int or num_classes < 1:
        raise UserError(f"num_classes={num_classes}: expected an integer of 1 or more.")
    source = IMAGENET if pretrained is True else str(pretrained) if pretrained else None
    defaults = {"in_channels": 3, "pretrained": None}  # a class of your own need not have the keys
    given = {"in_channels": in_channels, "pretrained": source}
    keys = backbone_keys | {key: given[key] for key in given if given[key] != defaults[key]}
    config = adapt_to_weights(_model_config(backbone, aspp, decoder, output_stride, keys))
    model = build_model(config, num_classes=num_classes)
    if init := find_init_source(config):
        load_backbone(model.backbone, init.path)
    return model


def _model_config(
    backbone: str, aspp: Part, decoder: Part, output_stride: int, backbone_keys: Mapping[str, Any]
) -> TrainConfig:
    """Return the config of a run with a network; data and recipe are the defaults."""
    parts: dict[str, Part] = {"backbone": backbone, "aspp": aspp, "decoder": decoder}
    for group, part in parts.items():
        if not isinstance(part, str if group == "backbone" else str | Mapping):
            raise UserError(f"{group}={part!r}: expected the name of a file in conf/{group}.")
    names = {group: part if isinstance(part, str) else "full" for group, part in parts.items()}
    keys = {group: part for group, part in parts.items() if isinstance(part, Mapping)}
    with composed("train", [f"{group}={name}" for group, name in names.items()]) as config:
        with open_dict(config):
            config.output_stride = output_stride
            for group, values in {**keys, "backbone": backbone_keys}.items():
                config[group].update(values)
        checked = parse_run(config)
    assert isinstance(checked, TrainConfig)
    trust_config(checked)  # the caller has named its classes
    return checked


def load(
    source: str | PathLike[str],
    *,
    device: str = "auto",
    precision: str = "auto",
    trust_remote_code: bool = False,
) -> "TrainedModel":
    """Return a trained network that predicts images: ``load("runs/NAME").predict("photo.jpg")``.

    Args:
        source: run folder, checkpoint or weights file in one, weights file with its ``config.yaml``
            beside it, ``hf://user/name`` on the Hugging Face hub with ``@revision`` for another
            version than the latest, or ``user/name`` if there is no such folder.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto`` or Lightning's name of a precision, such as ``32-true``.
        trust_remote_code: import the class that the run's config names as its backbone, if any.

    Raises:
        UserError: there is no such run, its weights are damaged or of another network, or this
            machine lacks the device.
    """
    from deeplab.checkpoints.trained_run import DEFAULT_RUNS_DIR, find_trained_run
    from deeplab.tools.predict.trained_model import TrainedModel

    name = str(source)
    owner, _, _ = name.partition("/")
    may_be_hub = (
        re.fullmatch(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?", name) and owner != DEFAULT_RUNS_DIR
    )
    if may_be_hub and not Path(owner).exists():
        print(f"{name}: there is no such folder here, so this is {HUB_SCHEME}{name} on the hub")
        name = HUB_SCHEME + name
    trained = find_trained_run(name, copy=False, trust_remote_code=trust_remote_code)
    return TrainedModel(trained, device=device, precision=precision)


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: the run folder, with weights, records and ``evaluations/``.
    """

    folder: Path

    @property
    def result(self) -> "Result":
        """Scores of the last validation with their protocol: ``run.result.miou`` in percent."""
        from deeplab.tracking.result import Result
        from deeplab.tracking.run_folder import OVERWRITE_HINT, RunFolder

        return Result.read(RunFolder(self.folder).result, f"{OVERWRITE_HINT}.")

    @property
    def config(self) -> "RunConfig":
        """All settings of the run."""
        from deeplab.tracking.run_folder import RunFolder, read_run

        return read_run(RunFolder(self.folder))

    def load(self, *, device: str = "auto", precision: str = "auto") -> "TrainedModel":
        """Return the trained network; see ``deeplab.load``."""
        return load(self.folder, device=device, precision=precision)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {self.result.format_main_score()})"


def train(
    data: str | None = None,
    *,
    root: str | PathLike[str] | None = None,
    overrides: Sequence[str] = (),
) -> Run:
    """Train a network as ``python src/train.py`` does, with its output, and return the run.

    A finished run of the same settings is returned as it is; an interrupted one goes on. Ctrl-C, or
    the stop button of a notebook, stops after the current step with a checkpoint, and raises
    KeyboardInterrupt: the same call goes on.

    >>> run = train("folder", root="/path/to/mine", overrides=["backbone=resnet50", "seed=1"])
    >>> run.result.miou

    Args:
        data: a name of ``conf/data``, such as ``folder`` or ``voc``; None: drawn scenes, or that of
            the overrides.
        root: folder of the images: ``data.root``.
        overrides: further settings, each as on the command line: ``docs/keys.md`` lists them. With
            ``trainer.devices=2`` the training runs in processes of its own.

    Raises:
        UserError: a setting, the data or the machine is wrong.
        KeyboardInterrupt: it was stopped.
    """
    from deeplab.config.execution import choose_execution
    from deeplab.evaluation.after_training import check_evaluations, evaluate_after_training
    from deeplab.training.launch import run_in_subprocess
    from deeplab.training.train import check_machine, run_experiment
    from deeplab.training.validate_config import check_train

    settings = [*_override("data", data), *_override("data.root", root), *_listed(overrides)]
    with composed("train", settings) as config:
        checked = check_train(config)
    trainer = checked.trainer
    if choose_execution(trainer).devices > 1 or trainer.num_nodes > 1:
        return Run(run_in_subprocess(settings, Path.cwd()).folder)
    check_machine(checked)
    check_evaluations(checked)
    folder = run_experiment(checked)
    evaluate_after_training(checked, folder)
    return Run(folder.path.absolute())


def evaluate(
    run: Run | str | PathLike[str],
    *,
    strategies: str | Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> list["Result"]:
    """Evaluate a trained network as ``python src/evaluate.py`` does, with its output.

    >>> single, best = evaluate(run, strategies=["os16", "os8-ms-flip"])
    >>> best.miou, best.class_IoU, best.boundary

    Args:
        run: a run, or what ``run=`` names: a run folder, a file of weights in one, or
            ``hf://user/name``.
        strategies: inference strategies, evaluated in one pass; none: single scale at the output
            stride of the training.
        overrides: further settings, each as on the command line, such as ``split=test``.

    Returns:
        The result of each strategy, in their order, as ``evaluations/NAME/result.json`` holds it.

    Raises:
        UserError: a setting, the run or the data is wrong.
        KeyboardInterrupt: it was stopped; the same call goes on.
    """
    from deeplab.config.parsing import parse
    from deeplab.config.schema.scripts import EvaluateConfig
    from deeplab.evaluation.evaluate import run_evaluation

    names = [strategies] if isinstance(strategies, str) else list(strategies)
    listed = f"strategies=[{','.join(map(quote_value, names))}]"
    settings = _override("run", run.folder if isinstance(run, Run) else run)
    with composed("evaluate", [*settings, *([listed] if names else []), *_listed(overrides)]) as c:
        checked = parse(EvaluateConfig, c)
    return run_evaluation(checked)


def create_datamodule(
    data: str = "shapes",
    *,
    root: str | PathLike[str] | None = None,
    batch_size: int = 16,
    num_workers: int = 0,
    seed: int = 0,
    model: DeepLabV3Plus | None = None,
    overrides: Sequence[str] = (),
) -> "SegmentationData":
    """Return a LightningDataModule of images with masks, for a ``lightning.Trainer`` of your own.

    An epoch is one pass over the training images. Batches hold ``image``, uint8 ``(N, 3, H, W)``,
    and ``label``, uint8 ``(N, H, W)`` with 255 for ignored pixels: crops in training, whole images
    in validation, test and prediction, each once on any number of devices. ``.classes.names`` are
    the names of the classes.

    Args:
        data: a name of ``conf/data``, such as ``folder`` or ``voc``; by default drawn scenes.
        root: folder of the images: ``data.root``.
        batch_size: images per batch, on all devices together.
        num_workers: loading processes per device.
        seed: seed of order and augmentation.
        model: network whose mean color pads the images; None: gray.
        overrides: further settings, each as on the command line, such as ``data.crop_size=257`` or
            ``data.val_split=test``.

    Raises:
        UserError: a setting or the data is wrong.
    """
    from deeplab.config.build_data import build_segmentation_data
    from deeplab.training.validate_config import check_train

    settings = [f"data={quote_value(data)}", *_override("data.root", root), f"seed={seed}"]
    with composed("train", [*settings, f"stage.batch_size={batch_size}", *_listed(overrides)]) as c:
        checked = check_train(c)
    if not isinstance(checked, TrainConfig):
        raise UserError(f"data={data}: this data set has image labels and no masks.")
    if model is not None:
        means = {"in_channels": model.in_channels, "mean": model.backbone.mean}
        backbone = checked.backbone.model_copy(update=means)
        checked = checked.model_copy(update={"backbone": backbone})
    module = build_segmentation_data(checked, num_workers=num_workers)
    module.steps = None
    return module


def _override(key: str, value: object) -> list[str]:
    return [] if value is None else [f"{key}={quote_value(value)}"]


def _listed(overrides: Sequence[str]) -> list[str]:
    """Return overrides as a list; a single string would be one of characters."""
    if isinstance(overrides, str) or not all(isinstance(text, str) for text in overrides):
        raise UserError(
            f"overrides={overrides!r}: expected a list of strings, as in overrides=['seed=1']."
        )
    return list(overrides)
