"""ImageNet weights that others have published: what ``backbone.pretrained=imagenet`` stands for.

* Xception: the authors' own, which timm has brought from their TensorFlow checkpoints;
* ResNet, torchvision's layout, and MobileNetV2: torchvision's ``IMAGENET1K_V1``. These were trained
  by a simple recipe and err as often as the paper's ResNet-101 does (Table 4: 22.4 % top-1). V2 of
  them has another recipe, of label smoothing, mixing of images and averaged weights, which no paper
  of the DeepLab family had: who wants them names the file;
* networks of timm: what timm names for them, on the Hugging Face hub. ``backbone.model=NAME.TAG``
  says which of several, and NAME alone is timm's choice.

A further backbone whose library knows where its weights are gets a case in ``published``.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from deeplab.config.schema.model import BackboneConfig
from deeplab.utils.errors import UserError

IMAGENET = "imagenet"
"""The value of ``backbone.pretrained`` that names these weights."""

HUB_SCHEME = "hf://"
"""What stands before ``user/name/file`` on the Hugging Face hub."""

TORCHVISION = "https://download.pytorch.org/models"


class PublishedWeights(NamedTuple):
    """A file of weights."""

    choice: str
    """Of ``backbone``, with the values that it has."""
    family: str
    settings: Mapping[str, Any]
    """Keys of ``backbone`` on which the shapes of the weights depend, and where strides are."""
    address: str
    checksum: str | None
    """``sha256:`` and its beginning; the hub states its own."""
    top1: float | None
    """Percent right on ImageNet's validation images, one crop, as its publisher states; None where
    it is not known here."""
    license: str | None = None
    """As stated; torchvision states none for its weights."""

    @property
    def about(self) -> str:
        """For a person."""
        known = [f"ImageNet top-1 {self.top1:.1f} %"] if self.top1 is not None else []
        return ", ".join([*known, f"license {self.license}"] if self.license else known)


def _xception(choice: str, depth: int, top1: float) -> PublishedWeights:
    address = f"{HUB_SCHEME}timm/xception{depth}.tf_in1k/model.safetensors"
    fitting = {"depth": depth, "width_mult": 1.0}
    return PublishedWeights(choice, "xception", fitting, address, None, top1, "Apache-2.0")


def _resnet(depth: int, digits: str, top1: float) -> PublishedWeights:
    fitting = {"depth": depth, "layout": "torchvision", "base_width": 64, "stem": "7x7"}
    address = f"{TORCHVISION}/resnet{depth}-{digits}.pth"
    choice = f"resnet{depth}_torchvision"
    return PublishedWeights(choice, "resnet", fitting, address, f"sha256:{digits}", top1)


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


def find_published_weights(backbone: BackboneConfig) -> PublishedWeights:
    """The weights that fit a backbone.

    Raises:
        UserError: nobody has published any; it says what there is.
    """
    if backbone.family == "timm":
        return _timm_weights(backbone.model)
    of_family = [known for known in PUBLISHED_WEIGHTS if known.family == backbone.family]
    for known in of_family:
        if all(getattr(backbone, key) == value for key, value in known.settings.items()):
            return known
    keys = of_family[0].settings if of_family else ()
    these = ", ".join(f"{key}={getattr(backbone, key)}" for key in keys)
    raise UserError(
        f"backbone.pretrained={IMAGENET}: nobody has published weights of this backbone "
        f"({backbone.family}: {these}) that can be read here{_beta_hint(backbone)}. There are some for "
        f"backbone={', '.join(known.choice for known in PUBLISHED_WEIGHTS)}, with their files' values."
    )


def _timm_weights(model: str) -> PublishedWeights:
    from deeplab.models.backbones.timm_models import pretrained_cfg  # imports torch

    record = pretrained_cfg(model)
    if record is None or not record.hf_hub_id:
        raise UserError(
            f"backbone.pretrained={IMAGENET}: timm knows of no weights of {model} on the Hugging "
            "Face hub that can be read here. backbone.pretrained=FILE names some."
        )
    address = f"{HUB_SCHEME}{record.hf_hub_id}/{record.hf_hub_filename or 'model.safetensors'}"
    return PublishedWeights("timm", "timm", {"model": model}, address, None, None, record.license)


def _beta_hint(backbone: BackboneConfig) -> str:
    """Where the weights of the paper's ResNets are."""
    keys = {"layout": "beta", "base_width": 64, "stem": "3x3x3"}
    depth = getattr(backbone, "depth", None)
    if depth not in BETA_CHECKPOINTS or any(getattr(backbone, k, None) != v for k, v in keys.items()):
        return ""
    return (
        f"; the authors' are a TensorFlow checkpoint: python src/convert.py {BETA_CHECKPOINTS[depth]} makes a "
        "file of it for backbone.pretrained=FILE"
    )
