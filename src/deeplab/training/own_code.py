"""The user's own code in a training, and its checks before it starts."""

from collections.abc import Mapping

import torch
from lightning import Callback
from torch import nn

from deeplab.config.build_model import build_aspp, build_backbone, build_decoder
from deeplab.config.schema.model import OwnBackboneSettings
from deeplab.config.schema.run import RunConfig, TrainConfig
from deeplab.models.backbones.base import Feature
from deeplab.models.backbones.wrapped import check_features, try_backbone
from deeplab.models.classifier import OUTPUT_STRIDE
from deeplab.models.own_parts import (
    TRIALS,
    OwnASPP,
    OwnDecoder,
    check_result,
    map_sides,
    trial_maps,
)
from deeplab.training.lr_schedules import build_lr_scheduler
from deeplab.training.optimizers import build_optimizer, parameter_groups
from deeplab.training.upsampled_losses import build_loss
from deeplab.utils.constants import IGNORE, TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.own_code.building import build, call
from deeplab.utils.own_code.node import OwnCode

PROBE_SIZE = 65
"""Largest side of the label map that a loss is tried on."""


def try_own_code(config: RunConfig, model: nn.Module) -> None:
    """Build loss, optimizer, scheduler and callbacks that are the user's own, and try the loss.

    Args:
        config: the run's config.
        model: its network, on the meta device.

    Raises:
        UserError: one is wrong.
    """
    for key in ("lr", "weight_decay"):
        if isinstance(config.optimizer, OwnCode) and key in config.optimizer.arguments:
            value = config.optimizer.arguments[key]
            raise UserError(
                f"optimizer.{key}={value}: each group of parameters has its own. Set "
                f"stage.{key}={value} instead."
            )
    build_callbacks(config.callbacks)
    if any(isinstance(part, OwnCode) for part in (config.optimizer, config.lr_scheduler)):
        optimizer = build_optimizer(parameter_groups(model, config.stage), config.optimizer)
        build_lr_scheduler(optimizer, config.lr_scheduler, config.stage, epoch_steps=1.0)
    if isinstance(config, TrainConfig) and isinstance(config.loss, OwnCode):
        size = min(PROBE_SIZE, config.data.crop_size)
        _try_loss(config.loss, max(2, len(config.data.classes)), size)


def check_own_network(config: RunConfig) -> None:
    """Check that the parts of a network that are the user's own return the maps that they state.

    Raises:
        UserError: one does not, or it cannot be built.
    """
    with torch.random.fork_rng(devices=[]):
        if isinstance(config.backbone, OwnBackboneSettings):
            _try_backbone(config, config.backbone)
        if isinstance(config, TrainConfig):
            _try_aspp_and_decoder(config)


def _try_backbone(config: RunConfig, node: OwnCode) -> None:
    backbone, label = build_backbone(config), f"backbone.{TARGET}={node.target}"
    stride = config.output_stride if isinstance(config, TrainConfig) else OUTPUT_STRIDE
    maps = call(try_backbone, f"{label} at output stride {stride}", backbone, stride)
    try:
        check_features(backbone, maps)
    except ValueError as error:
        raise UserError(f"{label}: {error}.") from None


def _try_aspp_and_decoder(config: TrainConfig) -> None:
    own = [part for part in (config.aspp, config.decoder) if isinstance(part, OwnCode)]
    if not own:
        return
    with torch.device("meta"):
        backbone = build_backbone(config)
    stride = config.output_stride
    aspp = build_aspp(config, backbone)
    if isinstance(aspp, OwnASPP):
        label = f"aspp.{TARGET}={own[0].target}"
        call(aspp.set_output_stride, f"{label} at output stride {stride}", stride)
        _try_part(aspp, label, {}, Feature(backbone.out_channels, stride), stride)
    decoder = build_decoder(config, backbone, aspp)
    if isinstance(decoder, OwnDecoder):
        label = f"decoder.{TARGET}={own[-1].target}"
        _try_part(decoder, label, backbone.low_level, Feature(aspp.out_channels, stride), stride)


def _try_part(
    part: OwnASPP | OwnDecoder,
    label: str,
    low_level: Mapping[str, Feature],
    encoded: Feature,
    output_stride: int,
) -> None:
    """Run an ASPP or a decoder on random maps.

    Args:
        part: the part.
        label: begins the message of an error.
        low_level: the backbone's low-level features, which a decoder gets.
        encoded: the map that it gets besides.
        output_stride: output stride of these maps.
    """
    result_stride = (part.stride if isinstance(part, OwnDecoder) else None) or output_stride
    for training, size in TRIALS:
        maps = trial_maps({**low_level, "output": encoded}, output_stride, size)
        source = maps["output"].requires_grad_()
        arguments = (source, maps) if isinstance(part, OwnDecoder) else (source,)
        where = f"{label} on maps of an image of {size[1]} x {size[0]} pixels"
        result = call(part.train(training), where, *arguments)
        sides = map_sides(size, result_stride, output_stride)
        try:
            check_result(result, source, channels=part.out_channels, sides=sides)
        except ValueError as error:
            raise UserError(f"{where}: {error}.") from None


def _try_loss(settings: OwnCode, classes: int, size: int) -> None:
    """Compute a loss of random logits and labels, of which some are ignored."""
    loss, label = build_loss(settings), f"loss.{TARGET}={settings.target}"
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, size, size, generator=generator, requires_grad=True)
    labels = torch.randint(classes, (2, size, size), generator=generator)
    labels[:, :2] = IGNORE
    value = call(loss, f"{label} on labels 0 to {classes - 1} and {IGNORE}", logits, labels)
    if not torch.isfinite(value):
        raise UserError(
            f"{label}: it is {value.item()} for random logits and labels with ignored pixels "
            f"({IGNORE}). Leave these pixels out."
        )
    if not value.requires_grad:
        raise UserError(f"{label}: it has no gradient. Compute it from the logits with PyTorch.")


def build_callbacks(nodes: Mapping[str, OwnCode]) -> list[Callback]:
    """Return the callbacks of the user's own.

    Raises:
        UserError: one cannot be imported, takes other arguments, or is no ``lightning.Callback``.
    """
    return [build(node, f"callbacks.{name}", Callback) for name, node in nodes.items()]
