"""Small networks for several test modules."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from deeplab.models.aspp import ASPP
from deeplab.models.backbones import Backbone, MobileNetV2, ResNet, Xception
from deeplab.models.decoder import Decoder
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.normalization import IMAGENET
from deeplab.utils.files import file_hash, write_json


def build(
    backbone: Backbone,
    *,
    num_classes: int = 21,
    naive: bool = False,
    separable: bool = False,
    **head: object,
) -> DeepLabV3Plus:
    """Build a DeepLabv3+ around a backbone, by default with the paper's head."""
    aspp = ASPP(
        backbone.out_channels,
        separable=separable,
        **{
            k: v
            for k, v in head.items()
            if k in ("channels", "atrous_rates", "image_pooling", "dropout")
        },
    )
    convs = () if naive else head.get("convs", ((3, 256), (3, 256)))
    decoder = Decoder(
        aspp.out_channels,
        backbone.low_level,
        low_level=() if naive else head.get("low_level", ("conv2",)),
        low_level_channels=head.get("low_level_channels", 48),
        convs=convs,
        separable=separable,
    )
    return DeepLabV3Plus(backbone, aspp, decoder, num_classes=num_classes)


def tiny_resnet(**options: object) -> ResNet:
    """Build a ResNet of a few thousand weights."""
    return ResNet((2, 2, 2, 2), base_width=4, **options)


def tiny_model(num_classes: int = 5, **head: object) -> DeepLabV3Plus:
    """Build a DeepLabv3+ of a few thousand weights."""
    head = {"channels": 8, "low_level_channels": 4, "convs": ((3, 8), (3, 8))} | head
    return build(tiny_resnet(), num_classes=num_classes, **head)


def on_meta(build_module, *args, **options):
    """Build a module on the meta device."""
    with torch.device("meta"):
        return build_module(*args, **options)


def equal_states(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Return True if two state dicts have the same tensors, bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def randomize_norms(model: torch.nn.Module) -> None:
    """Set statistics and weights of batch norms to random values."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)


TORCHVISION_RESNET = {
    "layout": "torchvision",
    "stem": "7x7",
    "multi_grid": (1, 1, 1),
    "mean": IMAGENET.mean,
    "std": IMAGENET.std,
}
"""Arguments of a ResNet for torchvision's public weights."""


SMALL_BACKBONES = {
    "xception41": lambda: Xception(41, width_mult=0.125),
    "resnet_beta": tiny_resnet,
    "resnet_torchvision": lambda: tiny_resnet(**TORCHVISION_RESNET),
    "mobilenetv2": lambda: MobileNetV2(0.25),
}


def randomize_logits(run: Path) -> None:
    """Randomize the logit weights of a run, so that it predicts all classes.

    In a run of a few seconds the network learns to predict background only.
    """
    weights = load_file(run / "weights.safetensors")
    weights["logits.weight"].normal_(generator=torch.Generator().manual_seed(0))
    save_file(weights, run / "weights.safetensors")
    result = json.loads((run / "metrics.json").read_text())
    result["weights_sha256"] = file_hash(run / "weights.safetensors")
    write_json(run / "metrics.json", result)
