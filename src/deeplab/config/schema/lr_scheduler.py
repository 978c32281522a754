"""Keys of ``conf/lr_scheduler``: one class for each choice.

A schedule is a factor of ``stage.lr`` by step. It begins after the warm-up, which the stage sets.
"""

from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny

from deeplab.utils.own_code.node import OwnCode
from deeplab.utils.settings import (
    AboveZero,
    Float,
    NonNegative,
    Settings,
    choices_of,
    settings_by_name,
)


class LRSchedulerSettings(Settings):
    """Learning-rate schedule."""

    name: Literal["poly", "cosine", "exponential"]
    """Schedule: ``poly``, ``cosine`` or ``exponential``."""


class PolySettings(LRSchedulerSettings):
    """The paper's schedule, ``(1 - step / steps) ** power``."""

    name: Literal["poly"] = "poly"
    power: NonNegative = 0.9
    """Power; 1 is a linear decay."""


class CosineSettings(LRSchedulerSettings):
    """Half a cosine wave from 1 to 0."""

    name: Literal["cosine"] = "cosine"


class ExponentialSettings(LRSchedulerSettings):
    """Staircase of the paper's ImageNet training: a factor every few epochs."""

    name: Literal["exponential"] = "exponential"
    decay_rate: Annotated[Float, Field(gt=0, le=1)] = 0.94
    """Factor every ``decay_epochs``."""
    decay_epochs: AboveZero = 2.0
    """Passes over the training images between two decays."""


LR_SCHEDULERS = choices_of(
    PolySettings,
    CosineSettings,
    ExponentialSettings,
)

LRScheduler = Annotated[
    SerializeAsAny[LRSchedulerSettings | OwnCode], settings_by_name(LR_SCHEDULERS, OwnCode)
]
"""Keys of a schedule: those of a choice, or a class of the user's own with its arguments."""
