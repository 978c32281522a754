"""Keys of backbone, ASPP and decoder: those of the constructors, and a few more."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, SerializeAsAny

from deeplab.config.schema.constructor import settings_from, settings_name
from deeplab.models.backbones.families import backbone_names
from deeplab.models.normalization import IMAGENET
from deeplab.utils.own_code.node import OwnCode
from deeplab.utils.settings import (
    AUTO,
    FilePath,
    Mean,
    NonNegative,
    OutputStride,
    Settings,
    Std,
    Text,
    settings_by,
    settings_or_own,
)


class BackboneSettings(Settings):
    """Keys of every backbone; the others are the keyword arguments of its class."""

    family: Text
    """Module of ``deeplab.models.backbones`` that defines the backbone."""
    pretrained: FilePath | None = AUTO
    """Initial weights of the backbone: ``imagenet`` for the published ones, or a file; null: random
    weights. They also set mean, std and bn_eps. auto: ``imagenet`` for images of your own
    (``data=folder``), random weights for other data."""
    weight_decay: NonNegative = 4e-5
    """Weight decay of a training with this backbone, which ``stage.weight_decay`` takes."""
    mean: Mean | None = None
    std: Std | None = None

    if TYPE_CHECKING:  # the keys of each family, which its constructor defines

        def __getattr__(self, name: str) -> Any: ...


class OwnBackboneSettings(OwnCode, BackboneSettings):
    """A feature extractor of the user's own; keys that are not these are its arguments."""

    model_config = ConfigDict(extra="allow")

    family: Text = "own"
    weight_decay: NonNegative = 1e-4
    mean: Mean = IMAGENET.mean
    """Mean of the images that it is given, per channel and on the scale 0 to 255: ImageNet's."""
    std: Std = IMAGENET.std
    """Standard deviation of these images."""


NOT_ARGUMENTS = ("family", "pretrained", "weight_decay")
"""Keys of a backbone that its constructor does not take."""


def backbone_settings(family: str) -> type[BackboneSettings]:
    """Return the keys of a family of backbones.

    Raises:
        ValueError: there is no such family.
    """
    if family not in backbone_names():
        raise ValueError(f"no such backbone. Choose from {', '.join(backbone_names())}")
    module = f"deeplab.models.backbones.{family}"
    return settings_from(BackboneSettings, module, matches=r"\w*Backbone", place=__name__)


if TYPE_CHECKING:  # their keys are known at run time only

    class AsppSettings(Settings):
        """Keys of ``deeplab.models.aspp.ASPP``."""

        def __getattr__(self, name: str) -> Any: ...

    class DecoderSettings(Settings):
        """Keys of ``deeplab.models.decoder.Decoder``."""

        def __getattr__(self, name: str) -> Any: ...
else:
    AsppSettings = settings_from(
        Settings, "deeplab.models.aspp", "ASPP", exclude=("in_channels",), place=__name__
    )
    DecoderSettings = settings_from(
        Settings,
        "deeplab.models.decoder",
        "Decoder",
        exclude=("in_channels", "features"),
        place=__name__,
    )

    def __getattr__(name: str) -> type[BackboneSettings]:
        """Return the keys of a family of backbones, which pickle asks for by the class's name."""
        for family in backbone_names():
            if settings_name(family) == name:
                return backbone_settings(family)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


Aspp = Annotated[SerializeAsAny[AsppSettings | OwnCode], settings_or_own(AsppSettings, OwnCode)]
"""Keys of an ASPP: those of the project's, or a class of the user's own with its arguments."""
Decoder = Annotated[
    SerializeAsAny[DecoderSettings | OwnCode], settings_or_own(DecoderSettings, OwnCode)
]
"""Keys of a decoder, in the same way."""


class NetworkConfig(Settings):
    """Keys of every network."""

    backbone: Annotated[
        SerializeAsAny[BackboneSettings],
        settings_by("family", backbone_settings, OwnBackboneSettings),
    ]


class ModelConfig(NetworkConfig):
    """Keys of the segmentation network, for ``deeplab.config.build_model.build_model``."""

    aspp: Aspp = AsppSettings()
    decoder: Decoder = DecoderSettings()
    output_stride: OutputStride = 16
    """Ratio of the image's size to the encoder's map; the atrous rates of backbone and ASPP follow.
    """
