"""Published ImageNet weights, which ``backbone.pretrained=imagenet`` stands for.

* Xception: the authors' own, which timm has converted from their TensorFlow checkpoints;
* ResNet, torchvision's layout, and MobileNetV2: torchvision's ``IMAGENET1K_V1``. These were trained
  with a simple recipe, and err about as often as the paper's ResNet-101 (Table 4: 22.4 % top-1).
  Their V2 has another recipe, with label smoothing, mixing of images and averaged weights, which no
  paper of the DeepLab family used; to use V2, set ``backbone.pretrained`` to the file;
* networks of timm: the weights that timm lists for them, on the Hugging Face hub.
  ``backbone.model=NAME.TAG`` picks one of several, and NAME alone is timm's choice.

A further backbone whose library knows where its weights are needs a case in
``find_published_weights``.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from deeplab.config.schema.model import BackboneSettings
from deeplab.utils.constants import TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.program import command

IMAGENET_WEIGHTS = "imagenet"
"""Value of ``backbone.pretrained`` that selects these weights."""

HUB_SCHEME = "hf://"
"""Prefix of ``user/name/file`` on the Hugging Face hub."""

TORCHVISION = "https://download.pytorch.org/models"


class PublishedWeights(NamedTuple):
    """Published weight file."""

    choice: str
    """Choice of the group ``backbone``, with the values in its file."""
    family: str
    settings: Mapping[str, Any]
    """Keys of ``backbone`` that determine the shapes of the weights and the strided layers."""
    address: str
    checksum: str | None
    """``sha256:`` and the first digits; None on the hub, which states its own."""
    top1: float | None
    """Top-1 accuracy on ImageNet's validation images, in percent, one crop, as published.

    None if it is unknown.
    """
    license: str | None = None
    """License as published; torchvision states none for its weights."""

    @property
    def description(self) -> str:
        """Accuracy and license as text."""
        known = [f"ImageNet top-1 {self.top1:.1f} %"] if self.top1 is not None else []
        return ", ".join([*known, f"license {self.license}"] if self.license else known)


def _xception(choice: str, depth: int, top1: float) -> PublishedWeights:
    address = f"{HUB_SCHEME}timm/xception{depth}.tf_in1k/model.safetensors"
    settings = {"depth": depth, "width_mult": 1.0}
    return PublishedWeights(choice, "xception", settings, address, None, top1, "Apache-2.0")


def _resnet(depth: int, digits: str, top1: float) -> PublishedWeights:
    settings = {"depth": depth, "layout": "torchvision", "base_width": 64, "stem": "7x7"}
    address = f"{TORCHVISION}/resnet{depth}-{digits}.pth"
    choice = f"resnet{depth}_torchvision"
    return PublishedWeights(choice, "resnet", settings, address, f"sha256:{digits}", top1)


PUBLISHED_WEIGHTS = (
    _xception("xception41", 41, 78.50),
    _xception("xception", 65, 79.56),
    _xception("xception71", 71, 79.87),
    _resnet(50, "0676ba61", 76.13),
    _resnet(101, "63fe2227", 77.37),
    PublishedWeights(
        "mobilenetv2",
        "mobilenetv2",
        {"width_mult": 1.0, "divisor": 8},
        f"{TORCHVISION}/mobilenet_v2-b0353104.pth",
        "sha256:b0353104",
        71.88,
    ),
)

BETA_CHECKPOINTS = {50: "resnet_v1_50_2018_05_04.tar.gz", 101: "resnet_v1_101_2018_05_04.tar.gz"}
"""The authors' checkpoints of ResNet's beta layout, by depth."""


def find_published_weights(backbone: BackboneSettings) -> PublishedWeights:
    """Return the published weights of a backbone.

    Raises:
        UserError: there are none; the message lists the backbones that have some.
    """
    if backbone.family == "timm":
        return _timm_weights(backbone.model)
    of_family = [weights for weights in PUBLISHED_WEIGHTS if weights.family == backbone.family]
    for weights in of_family:
        if all(getattr(backbone, key) == value for key, value in weights.settings.items()):
            return weights
    keys = of_family[0].settings if of_family else ()
    target = getattr(backbone, "target", None)
    settings = ", ".join(f"{key}={getattr(backbone, key)}" for key in keys)
    name = f"{TARGET}={target}" if target else f"{backbone.family}{': ' * bool(settings)}{settings}"
    raise UserError(
        f"backbone.pretrained={IMAGENET_WEIGHTS}: no published weights of this backbone "
        f"({name}) can be read here{_beta_hint(backbone)}. There are "
        f"weights for backbone={', '.join(weights.choice for weights in PUBLISHED_WEIGHTS)}, with "
        "the values in their files."
    )


def _timm_weights(model: str) -> PublishedWeights:
    from deeplab.models.backbones.timm_models import pretrained_cfg  # imports torch

    record = pretrained_cfg(model)
    if record is None or not record.hf_hub_id:
        raise UserError(
            f"backbone.pretrained={IMAGENET_WEIGHTS}: timm lists no weights of {model} on the "
            "Hugging Face hub that can be read here. Set backbone.pretrained=FILE."
        )
    address = f"{HUB_SCHEME}{record.hf_hub_id}/{record.hf_hub_filename or 'model.safetensors'}"
    return PublishedWeights("timm", "timm", {"model": model}, address, None, None, record.license)


def _beta_hint(backbone: BackboneSettings) -> str:
    """Return a hint to the weights of the paper's ResNets."""
    keys = {"layout": "beta", "base_width": 64, "stem": "3x3x3"}
    if backbone.family != "resnet" or any(getattr(backbone, k) != v for k, v in keys.items()):
        return ""
    depth = backbone.depth
    if depth not in BETA_CHECKPOINTS:
        return ""
    return (
        f"; the authors' weights are a TensorFlow checkpoint: {command('convert')} "
        f"{BETA_CHECKPOINTS[depth]} converts it to a file for backbone.pretrained=FILE"
    )
