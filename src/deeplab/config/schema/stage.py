"""Schemas of ``conf/stage``: the training recipe."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from deeplab.utils.constants import LOGITS_STD
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
    WeightInit,
)

Task = Literal["segmentation", "classification"]


class Recipe(Settings):
    """Keys of ``conf/stage``: the training recipe, by default the paper's for VOC trainaug.

    Loss, optimizer and learning-rate schedule are groups of their own, which a stage chooses.
    """

    task: Task = "segmentation"
    """Kind of network to train."""
    max_steps: Positive = 30_000
    """Number of training steps."""
    batch_size: Size = 16
    """Training images per step, over all devices; 12 or more if batch norms are trained."""
    lr: AboveZero = 0.007
    """Learning rate at the start, after the warm-up."""
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
    logits_init: WeightInit = LOGITS_STD
    """Initialization of the logits' weights: the authors' standard deviation, or ``xavier``, whose
    larger weights let short runs learn rare classes hundreds of steps sooner."""
    bias_lr_mult: NonNegative = 2.0
    """Multiplier of the learning rate of the logits' biases; from the authors' code."""
    batch_norm: Literal["train", "frozen"] = "train"
    """``train`` uses the statistics of the batch; ``frozen`` uses the running statistics and leaves
    them unchanged, while weight and bias are trained, as in the authors' code."""
    freeze_backbone: Bool | Natural = False
    """Do not train the backbone, its batch norms included: for so many steps, or ``true`` for
    good."""
    early_stopping: Positive | None = None
    """End the training after so many validations without a better score; the learning rate still
    falls over ``max_steps``. null: train to the end."""
    bn_momentum: Momentum | None = None
    """PyTorch's momentum of every batch norm; null: that of backbone, ASPP and decoder, which is
    for thousands of steps: with the authors' 0.0003 a short run keeps the initial statistics."""

    @property
    def frozen_steps(self) -> float:
        """Number of first steps that leave the backbone as it is; infinite for all."""
        return math.inf if self.freeze_backbone is True else int(self.freeze_backbone)

    @model_validator(mode="after")
    def _check_warmup_steps(self) -> Self:
        if self.warmup_steps >= self.max_steps:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) must be below max_steps ({self.max_steps}). "
                f"Set stage.warmup_steps={self.max_steps // 20}, or stage.max_steps above "
                f"{self.warmup_steps}"
            )
        return self


class ClassifierRecipe(Recipe):
    """Recipe of a classifier, with the dropout probability of its pooled features."""

    dropout: BelowOne = 0.5
    """Dropout probability of the pooled features: the authors' 0.5 for Xception; 0 for ResNets."""
