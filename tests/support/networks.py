"""Small networks that several tests use."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from deeplab.models.aspp import ASPP
from deeplab.models.backbones import Backbone, MobileNetV2, ResNet, Xception
from deeplab.models.decoder import Decoder
from deeplab.models.deeplabv3plus import DeepLabV3Plus


def build(
    backbone: Backbone,
    *,
    num_classes: int = 21,
    naive: bool = False,
    separable: bool = False,
    **head: object,
) -> DeepLabV3Plus:
    """A DeepLabv3+ around a backbone, the paper's head unless said otherwise."""
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


def tiny_resnet(**keywords: object) -> ResNet:
    """A ResNet of a few thousand weights."""
    return ResNet((2, 2, 2, 2), base_width=4, **keywords)


def tiny_model(num_classes: int = 5, **head: object) -> DeepLabV3Plus:
    """A DeepLabv3+ of a few thousand weights."""
    head = {"channels": 8, "low_level_channels": 4, "convs": ((3, 8), (3, 8))} | head
    return build(tiny_resnet(), num_classes=num_classes, **head)


def on_meta(make, *args, **keywords):
    """Build without memory."""
    with torch.device("meta"):
        return make(*args, **keywords)


def randomize_norms(model: torch.nn.Module) -> None:
    """Give batch norms statistics and weights unlike their initial ones."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)


SMALL_BACKBONES = {
    "xception41": lambda: Xception(41),
    "resnet_beta": tiny_resnet,
    "resnet_torchvision": lambda: tiny_resnet(layout="torchvision"),
    "mobilenetv2": lambda: MobileNetV2(0.25),
}


def see_all_classes(run: Path) -> None:
    """Give a run's network logits of random weights: in seconds it learns background only."""
    weights = load_file(run / "weights.safetensors")
    weights["logits.weight"].normal_(generator=torch.Generator().manual_seed(0))
    save_file(weights, run / "weights.safetensors")
