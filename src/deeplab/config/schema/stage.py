"""Keys of ``conf/stage``: the recipe of a training."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from deeplab.config.schema.types import (
    AboveZero,
    Beta,
    Bool,
    Float,
    Momentum,
    Natural,
    Positive,
    Rate,
    Schema,
)

BELONGS = {
    "momentum": ("optimizer", "sgd", "0.9"),
    "betas": ("optimizer", "adamw", "[0.9,0.999]"),
    "power": ("schedule", "poly", "0.9"),
    "decay_rate": ("schedule", "exponential", "0.94"),
    "decay_epochs": ("schedule", "exponential", "2.0"),
}
"""Keys of ``StageConfig`` that only one choice of another key looks at, and a usual value."""


Task = Literal["segmentation", "classification"]


class StageConfig(Schema):
    """``deeplab.training.module.Recipe``, the batch size, and what it is the recipe of.

    Keys with a default here came later than runs that are recorded without them; the default is
    what those did, and does not count in a run's hash.
    """

    task: Task = "segmentation"
    max_steps: Positive
    batch_size: Positive
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: AboveZero
    schedule: Literal["poly", "cosine", "exponential"] = "poly"
    power: Rate | None
    decay_rate: Annotated[Float, Field(gt=0, le=1)] | None = None
    decay_epochs: AboveZero | None = None
    momentum: Beta | None
    nesterov: Bool = False
    betas: tuple[Beta, Beta] | None = None
    weight_decay: Rate
    gradient_clip_val: AboveZero | None = None
    warmup_mode: Literal["constant", "linear"] = "constant"
    warmup_steps: Natural
    warmup_lr: AboveZero
    ema_decay: Annotated[Float, Field(gt=0, lt=1)] | None = None
    backbone_lr_mult: Rate
    head_lr_mult: Rate
    bias_lr_mult: Rate
    batch_norm: Literal["train", "frozen"]
    bn_momentum: Momentum | None
    class_weights: tuple[Rate, ...] | None
    hard_pixel_fraction: Annotated[Float, Field(gt=0, le=1)]
    hard_pixel_steps: Natural

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        wrong = []
        for key, (choice, owner, usual) in BELONGS.items():
            value, chosen = getattr(self, key), getattr(self, choice)
            if chosen == owner and value is None:
                wrong.append(f"{choice}={owner} wants {key}, such as stage.{key}={usual}")
            if chosen != owner and value is not None:
                wrong.append(f"{key} does nothing with {choice}={chosen}, set stage.{key}=null")
        if self.nesterov and self.optimizer != "sgd":
            wrong.append(f"nesterov does nothing with optimizer={self.optimizer}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.warmup_steps >= self.max_steps:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) must be below max_steps ({self.max_steps})"
            )
        return self


class ClassifierStageConfig(StageConfig):
    """The recipe of a classifier, and the part of its features that dropout sets to 0."""

    dropout: Annotated[Float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _nothing_about_pixels(self) -> Self:
        if self.class_weights is not None or self.hard_pixel_fraction < 1:
            raise ValueError(
                "class_weights and hard_pixel_fraction are about pixels, which a classifier has not"
            )
        return self
