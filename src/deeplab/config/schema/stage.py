"""Schemas of ``conf/stage``: the training recipe."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from deeplab.config.schema.types import (
    AboveZero,
    Beta,
    Bool,
    Float,
    Momentum,
    Natural,
    NonNegative,
    Positive,
    Schema,
)

DEPENDENT_KEYS = {
    "momentum": ("optimizer", "sgd", "0.9"),
    "betas": ("optimizer", "adamw", "[0.9,0.999]"),
    "power": ("schedule", "poly", "0.9"),
    "decay_rate": ("schedule", "exponential", "0.94"),
    "decay_epochs": ("schedule", "exponential", "2.0"),
}
"""Keys of ``StageConfig`` that have an effect with one value of another key only.

Each entry is the other key, that value, and a usual setting of the dependent key.
"""


Task = Literal["segmentation", "classification"]


class StageConfig(Schema):
    """Keys of ``deeplab.training.module.Recipe``, the batch size and the task.

    Keys with a default were added after the first runs, whose records lack them; the default is
    the behavior of those runs, and does not count in a run's hash.
    """

    task: Task = "segmentation"
    max_steps: Positive
    batch_size: Positive
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: AboveZero
    schedule: Literal["poly", "cosine", "exponential"] = "poly"
    power: NonNegative | None
    decay_rate: Annotated[Float, Field(gt=0, le=1)] | None = None
    decay_epochs: AboveZero | None = None
    momentum: Beta | None
    nesterov: Bool = False
    betas: tuple[Beta, Beta] | None = None
    weight_decay: NonNegative
    gradient_clip_val: AboveZero | None = None
    warmup_mode: Literal["constant", "linear"] = "constant"
    warmup_steps: Natural
    warmup_lr: AboveZero
    ema_decay: Annotated[Float, Field(gt=0, lt=1)] | None = None
    backbone_lr_mult: NonNegative
    head_lr_mult: NonNegative
    bias_lr_mult: NonNegative
    batch_norm: Literal["train", "frozen"]
    bn_momentum: Momentum | None
    class_weights: tuple[NonNegative, ...] | None
    hard_pixel_fraction: Annotated[Float, Field(gt=0, le=1)]
    hard_pixel_steps: Natural

    @model_validator(mode="after")
    def _check_dependent_keys(self) -> Self:
        errors = []
        for key, (choice, required, usual) in DEPENDENT_KEYS.items():
            value, chosen = getattr(self, key), getattr(self, choice)
            if chosen == required and value is None:
                errors.append(f"{choice}={required} needs {key}, such as stage.{key}={usual}")
            if chosen != required and value is not None:
                errors.append(f"{key} has no effect with {choice}={chosen}, set stage.{key}=null")
        if self.nesterov and self.optimizer != "sgd":
            errors.append(f"nesterov has no effect with optimizer={self.optimizer}")
        if errors:
            raise ValueError("; ".join(errors))
        return self

    @model_validator(mode="after")
    def _check_warmup_steps(self) -> Self:
        if self.warmup_steps >= self.max_steps:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) must be below max_steps ({self.max_steps})"
            )
        return self


class ClassifierStageConfig(StageConfig):
    """Recipe of a classifier, with the dropout probability of its pooled features."""

    dropout: Annotated[Float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _check_no_pixel_keys(self) -> Self:
        if self.class_weights is not None or self.hard_pixel_fraction < 1:
            raise ValueError(
                "class_weights and hard_pixel_fraction apply to pixels, and a classifier has "
                "none. Set stage.class_weights=null and stage.hard_pixel_fraction=1.0"
            )
        return self
