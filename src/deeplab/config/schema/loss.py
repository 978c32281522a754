"""Keys of ``conf/loss``: one class for each choice."""

from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny, field_validator

from deeplab.utils.own_code.node import OwnCode
from deeplab.utils.settings import (
    Float,
    Fraction,
    Natural,
    NonNegative,
    Settings,
    Text,
    choices_of,
    settings_by_name,
)


class LossSettings(Settings):
    """Loss of segmentation networks."""

    name: Text
    """Loss."""


class PixelLossSettings(LossSettings):
    """Cross-entropy of pixels."""

    class_weights: Annotated[tuple[NonNegative, ...], Field(min_length=1)] | None = None
    """Weight of each class; null: equal weights. auto: 1 / sqrt of the class's share of the
    training pixels, scaled to a mean of 1 over them."""

    @field_validator("class_weights")
    @classmethod
    def _check_class_weights(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if weights is not None and not any(weights):
            raise ValueError("all weights are 0")
        return weights


class CrossEntropySettings(PixelLossSettings):
    """Softmax cross-entropy, averaged over the labeled pixels of the batch."""

    name: Literal["cross_entropy"] = "cross_entropy"


class TopKSettings(PixelLossSettings):
    """Cross-entropy of the hardest pixels (online hard example mining)."""

    name: Literal["top_k"] = "top_k"
    hard_pixel_fraction: Annotated[Float, Field(gt=0, le=1)] = 0.2
    """Fraction of all pixels, the hardest, that counts; 0.2 is Panoptic-DeepLab's."""
    hard_pixel_steps: Natural = 0
    """Steps over which the fraction falls linearly from 1 to ``hard_pixel_fraction``."""


class DiceSettings(LossSettings):
    """One minus the Dice coefficient of each image (kornia)."""

    name: Literal["dice"] = "dice"
    average: Literal["macro", "micro"] = "macro"
    """``macro``: the mean over the classes of an image; ``micro``: all its pixels together."""


class FocalSettings(LossSettings):
    """Focal loss, averaged over the labeled pixels of the batch (kornia)."""

    name: Literal["focal"] = "focal"
    gamma: NonNegative = 2.0
    """Exponent by which well classified pixels count less; 0: cross-entropy."""
    alpha: Fraction | None = None
    """Weight of all classes but the first one, which has ``1 - alpha``; null: 1 for all."""


class LovaszSettings(LossSettings):
    """Lovasz-softmax loss of each image, a surrogate of its IoU (kornia)."""

    name: Literal["lovasz"] = "lovasz"


class Term(Settings):
    """One loss of a sum."""

    weight: NonNegative = 1.0
    """Factor of the loss."""
    loss: "Loss"
    """Keys of the loss, as those of ``loss``."""


class SumSettings(LossSettings):
    """Weighted sum of losses."""

    name: Literal["sum"] = "sum"
    terms: Annotated[dict[Text, Term], Field(min_length=1)]
    """Losses by any name, as ``{dice: {weight: 0.5, loss: {name: dice}}}``."""


LOSSES = choices_of(
    CrossEntropySettings,
    TopKSettings,
    DiceSettings,
    FocalSettings,
    LovaszSettings,
    SumSettings,
)


Loss = Annotated[SerializeAsAny[LossSettings | OwnCode], settings_by_name(LOSSES, OwnCode)]
"""Keys of a loss: those of a choice, or a class of the user's own with its arguments."""

Term.model_rebuild()
SumSettings.model_rebuild()
