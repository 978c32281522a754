"""Schemas of ``conf/stage``: the training recipe."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from deeplab.utils.settings import (
    AboveZero,
    BelowOne,
    Bool,
    Float,
    Momentum,
    Natural,
    NonNegative,
    Positive,
    Settings,
    Size,
)

DEPENDENT_KEYS = {
    "momentum": ("optimizer", "sgd", "0.9"),
    "betas": ("optimizer", "adamw", "[0.9,0.999]"),
    "power": ("schedule", "poly", "0.9"),
    "decay_rate": ("schedule", "exponential", "0.94"),
    "decay_epochs": ("schedule", "exponential", "2.0"),
}
"""Keys of ``Recipe`` that have an effect with one value of another key only.

Each entry is the other key, that value, and a usual setting of the dependent key.
"""


Task = Literal["segmentation", "classification"]


class Recipe(Settings):
    """Keys of ``conf/stage``: the training recipe, by default the paper's for VOC trainaug."""

    task: Task = "segmentation"
    """Kind of network to train."""
    max_steps: Positive = 30_000
    """Number of training steps."""
    batch_size: Size = 16
    """Training images per step, over all devices; 12 or more if batch norms are trained."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """``sgd`` with ``momentum``, or ``adamw`` with ``betas`` (then ``momentum=null``)."""
    lr: AboveZero = 0.007
    """Learning rate at the start, after the warm-up."""
    schedule: Literal["poly", "cosine", "exponential"] = "poly"
    """Learning rate by step: ``poly`` with ``power``; ``cosine`` (then ``power=null``); or
    ``exponential`` with ``decay_rate`` and ``decay_epochs``."""
    power: NonNegative | None = 0.9
    """Power of the poly schedule, ``lr * (1 - step / steps) ** power``."""
    decay_rate: Annotated[Float, Field(gt=0, le=1)] | None = None
    """Factor of the exponential schedule every ``decay_epochs``."""
    decay_epochs: AboveZero | None = None
    """Passes over the training images between two decays of the exponential schedule."""
    momentum: BelowOne | None = 0.9
    """Momentum of SGD."""
    nesterov: Bool = False
    """Use Nesterov's momentum."""
    betas: tuple[BelowOne, BelowOne] | None = None
    """Betas of AdamW, as ``[0.9,0.999]``."""
    weight_decay: NonNegative = 4e-5
    """Weight decay of dense and pointwise convolutions; the others have none."""
    gradient_clip_val: AboveZero | None = None
    """Largest norm of the gradient of all parameters; null: no clipping."""
    warmup_mode: Literal["constant", "linear"] = "constant"
    """Warm-up at ``warmup_lr``, or linear from ``warmup_lr`` to ``lr``."""
    warmup_steps: Natural = 0
    """Number of steps of the warm-up."""
    warmup_lr: AboveZero = 1e-4
    """Learning rate at the start of the warm-up."""
    ema_decay: Annotated[Float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, which is then validated and saved instead of the
    network itself; null: no average."""
    backbone_lr_mult: NonNegative = 1.0
    """Multiplier of the backbone's learning rate."""
    head_lr_mult: NonNegative = 1.0
    """Multiplier of the learning rate of everything else; the paper has no larger one."""
    bias_lr_mult: NonNegative = 2.0
    """Multiplier of the learning rate of the logits' biases; from the authors' code."""
    batch_norm: Literal["train", "frozen"] = "train"
    """``train`` uses the statistics of the batch; ``frozen`` uses the running statistics and leaves
    them unchanged, while weight and bias are trained, as in the authors' code."""
    bn_momentum: Momentum | None = None
    """PyTorch's momentum of every batch norm; null: that of backbone, ASPP and decoder, which is
    for thousands of steps: with the authors' 0.0003 a short run keeps the initial statistics."""
    class_weights: Annotated[tuple[NonNegative, ...], Field(min_length=1)] | None = None
    """Weight of each class in the loss; null: equal weights."""
    hard_pixel_fraction: Annotated[Float, Field(gt=0, le=1)] = 1.0
    """Fraction of all pixels, the hardest, that counts in the loss."""
    hard_pixel_steps: Natural = 0
    """Steps over which the fraction falls linearly from 1 to ``hard_pixel_fraction``."""

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


class ClassifierRecipe(Recipe):
    """Recipe of a classifier, with the dropout probability of its pooled features."""

    dropout: BelowOne = 0.5
    """Dropout probability of the pooled features: the authors' 0.5 for Xception; 0 for ResNets."""

    @model_validator(mode="after")
    def _check_no_pixel_keys(self) -> Self:
        if self.class_weights is not None or self.hard_pixel_fraction < 1:
            raise ValueError(
                "class_weights and hard_pixel_fraction apply to pixels, and a classifier has "
                "none. Set stage.class_weights=null and stage.hard_pixel_fraction=1.0"
            )
        return self
