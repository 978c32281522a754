"""Networks and trained networks from Python."""

import inspect
import warnings
from collections.abc import Mapping
from fnmatch import fnmatch
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import open_dict

from deeplab.checkpoints.initialization import adapt_to_weights, find_init_source
from deeplab.checkpoints.pretrained import IMAGENET_WEIGHTS, PUBLISHED_WEIGHTS
from deeplab.config.compose import composed
from deeplab.config.own_nodes import trust_config
from deeplab.config.parsing import validate
from deeplab.config.paths import group_choices, project_choices
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.stage import Recipe
from deeplab.training.validate_config import parse_run
from deeplab.utils.constants import LOGITS_STD, TARGET
from deeplab.utils.errors import UserError, argument_names
from deeplab.utils.text import did_you_mean, similar

if TYPE_CHECKING:
    from deeplab.models.deeplabv3plus import DeepLabV3Plus
    from deeplab.tools.predict.trained_model import TrainedModel

Part = str | Mapping[str, Any]
"""Name of a choice of a config group, keys over its choice ``full``, or ``_target_`` and arguments
of a class of one's own."""


OWN = "own"
"""Choice of a group for a class of one's own."""


def list_models(filter: str = "*", *, pretrained: bool = False) -> list[str]:
    """Return the names of backbones for ``create_model``, in alphabetical order.

    Args:
        filter: pattern of the names, such as ``resnet*``.
        pretrained: list only those with published ImageNet weights.
    """
    names = sorted(n for n in group_choices("backbone") if n != OWN and fnmatch(n, filter))
    with_weights = {"timm", *(weights.choice for weights in PUBLISHED_WEIGHTS)}
    return [name for name in names if not pretrained or name in with_weights]


@argument_names({"backbone.": ""})
def create_model(
    backbone: str = "xception",
    *,
    decoder: Part = "full",
    aspp: Part = "full",
    output_stride: int = 16,
    num_classes: int = 21,
    in_channels: int = 3,
    pretrained: bool | str | PathLike[str] | None = None,
    logits_init: float | str = LOGITS_STD,
    bn_momentum: float | None = None,
    **backbone_keys: Any,
) -> "DeepLabV3Plus":
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
        logits_init: initialization of the logits' weights: a standard deviation, by default the
            authors'; or ``xavier``, whose larger weights let short runs learn rare classes
            hundreds of steps sooner.
        bn_momentum: PyTorch's momentum of every batch norm; None: the paper's, 0.0003 (MobileNetV2:
            0.003), with which the statistics of ``eval()`` take thousands of steps to follow.
        backbone_keys: further keyword arguments of the backbone, as in ``docs/keys.md``.

    Raises:
        UserError: a name, key or value is wrong, the parts do not fit each other, or the weights
            cannot be had or do not fit.
    """
    from deeplab.checkpoints.matching import HEAD_PARTS, load_backbone
    from deeplab.config.build_model import build_model

    num_classes, output_stride = _plain(num_classes), _plain(output_stride)
    if type(num_classes) is not int or num_classes < 1:
        raise UserError(f"num_classes={num_classes!r}: expected an integer of 1 or more.")
    _check_arguments(backbone, backbone_keys)
    source = IMAGENET_WEIGHTS if pretrained is True else str(pretrained) if pretrained else None
    defaults = {"in_channels": 3, "pretrained": None}  # a class of your own need not have the keys
    given = {"in_channels": in_channels, "pretrained": source}
    keys = {key: _plain(value) for key, value in backbone_keys.items()}
    keys |= {key: given[key] for key in given if given[key] != defaults[key]}
    config = adapt_to_weights(_model_config(backbone, aspp, decoder, output_stride, keys))
    recipe = validate(Recipe, {"logits_init": logits_init, "bn_momentum": bn_momentum})
    model = build_model(
        config,
        num_classes=num_classes,
        logits_init=recipe.logits_init,
        bn_momentum=recipe.bn_momentum,
    )
    if init := find_init_source(config):
        report = load_backbone(model.backbone, init.path)
        if not report.left_out.keys().isdisjoint(HEAD_PARTS):
            warnings.warn(
                f"pretrained={pretrained}: these are weights of a whole network, of which the "
                f"backbone's are taken: {report}. model.load_state_dict(...) takes all.",
                stacklevel=3,  # the caller, behind ``argument_names``
            )
    return model


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def _check_arguments(backbone: str, backbone_keys: Mapping[str, Any]) -> None:
    """Raise UserError for arguments that no network has, or a class that is not named."""
    if TARGET in backbone_keys:
        return
    if backbone == OWN:
        raise UserError(f"backbone={OWN}: a class of your own is named by {TARGET}=....")
    if not backbone_keys or backbone not in project_choices("backbone"):
        return
    from deeplab.config.reference import script_keys  # imports all schemas

    prefix = "backbone."
    keys = {key.removeprefix(prefix) for key in script_keys("train") if key.startswith(prefix)}
    arguments = {*inspect.signature(create_model).parameters} - {"backbone_keys"}
    for key in backbone_keys:
        if key not in keys:
            hint = did_you_mean(similar(key, [*arguments, *keys])) or " Leave it out."
            raise UserError(f"{key}: create_model has no such argument.{hint}")


def _model_config(
    backbone: str, aspp: Part, decoder: Part, output_stride: int, backbone_keys: Mapping[str, Any]
) -> TrainConfig:
    """Return the config of a run with a network; data and recipe are the defaults."""
    parts: dict[str, Part] = {"backbone": backbone, "aspp": aspp, "decoder": decoder}
    for group, part in parts.items():
        if not isinstance(part, str if group == "backbone" else str | Mapping):
            raise UserError(f"{group}={part!r}: expected the name of a file in conf/{group}.")
    names = {
        group: part if isinstance(part, str) else "own" if TARGET in part else "full"
        for group, part in parts.items()
    }
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


@argument_names({"run": "source"})
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
            beside it, or ``hf://user/name`` on the Hugging Face hub, with ``@revision`` for another
            version than the latest.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto`` or Lightning's name of a precision, such as ``32-true``.
        trust_remote_code: import the classes that the run's config names as parts of its network.

    Raises:
        UserError: there is no such run, its weights are damaged or of another network, or this
            machine lacks the device.
    """
    from deeplab.checkpoints.trained_run import find_trained_run
    from deeplab.tools.predict.trained_model import TrainedModel, execution_on

    trained = find_trained_run(str(source), copy=False, trust_remote_code=trust_remote_code)
    return TrainedModel(trained, execution_on(str(device), precision))
