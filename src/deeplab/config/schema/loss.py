"""Keys of ``conf/loss``: one class for each choice."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from deeplab.utils.settings import Float, Natural, NonNegative, Settings, find_choice


class LossSettings(Settings):
    """Loss of segmentation networks."""

    name: Literal["cross_entropy", "top_k"]
    """Loss: ``cross_entropy``, or ``top_k`` for that of the hardest pixels."""
    class_weights: Annotated[tuple[NonNegative, ...], Field(min_length=1)] | None = None
    """Weight of each class; null: equal weights."""

    @field_validator("class_weights")
    @classmethod
    def _check_class_weights(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if weights is not None and not any(weights):
            raise ValueError("all weights are 0")
        return weights


class CrossEntropySettings(LossSettings):
    """Softmax cross-entropy, averaged over the labeled pixels of the batch."""

    name: Literal["cross_entropy"] = "cross_entropy"


class TopKSettings(LossSettings):
    """Cross-entropy of the hardest pixels (online hard example mining)."""

    name: Literal["top_k"] = "top_k"
    hard_pixel_fraction: Annotated[Float, Field(gt=0, le=1)] = 0.2
    """Fraction of all pixels, the hardest, that counts; 0.2 is Panoptic-DeepLab's."""
    hard_pixel_steps: Natural = 0
    """Steps over which the fraction falls linearly from 1 to ``hard_pixel_fraction``."""


LOSSES: tuple[type[LossSettings], ...] = (CrossEntropySettings, TopKSettings)


def loss_settings(name: str) -> type[LossSettings]:
    """Return the settings of a loss; raise ValueError if there is none of this name."""
    return find_choice(name, LOSSES)
