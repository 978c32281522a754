"""The LightningModules: network, loss, metric and optimizer as one training step and one
validation step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from deeplab.models.layers import batch_norms, set_batch_norm
from deeplab.training.ema import averaged, decay_at, update_average
from deeplab.training.optimizers import (
    Policy,
    build_optimizer,
    cosine,
    exponential,
    parameter_groups,
    poly,
    warmup,
)

Batch = dict[str, Any]
"""``image`` (N, 3, H, W) uint8, ``label`` (N, H, W) uint8, lists of N ``image_id`` and ``size``."""


@dataclass(frozen=True)
class Recipe:
    """The optimization recipe (the keys of a ``stage`` config; the values here are the paper's).

    Args:
        max_steps: training steps.
        optimizer, momentum, nesterov, betas: ``sgd`` with ``momentum``, Nesterov's or not; or
            ``adamw`` with ``betas``. What belongs to the other is None.
        lr, weight_decay: at the beginning; see ``parameter_groups``.
        schedule, power, decay_rate, decay_epochs: lr by step: ``poly`` with ``power``;
            ``cosine``; or ``exponential`` with ``decay_rate`` every ``decay_epochs`` passes over
            the training images. What belongs to others is None.
        warmup_steps, warmup_lr, warmup_mode: lr at the beginning, ``constant`` or
            ``linear``, which ends at ``lr``.
        gradient_clip_val: the largest norm of the gradient of all parameters; None: any.
        ema_decay: validate and keep a moving average of the network with this decay (see
            ``decay_at``); None: the network itself.
        backbone_lr_mult, head_lr_mult, bias_lr_mult: multipliers of lr.
        batch_norm: ``train`` trains with batch statistics; ``frozen`` uses the running ones and
            leaves them as they are (weight and bias train on, as in the authors' code).
        bn_momentum: PyTorch momentum for every batch norm; None keeps each part's own. The
            authors' 0.0003 never leaves the initial statistics in a short run.
        class_weights, hard_pixel_fraction, hard_pixel_steps: see ``SegmentationLoss``.
    """

    max_steps: int = 30_000
    optimizer: str = "sgd"
    lr: float = 0.007
    schedule: str = "poly"
    power: float | None = 0.9
    decay_rate: float | None = None
    decay_epochs: float | None = None
    momentum: float | None = 0.9
    nesterov: bool = False
    betas: tuple[float, float] | None = None
    weight_decay: float = 4e-5
    gradient_clip_val: float | None = None
    warmup_mode: str = "constant"
    warmup_steps: int = 0
    warmup_lr: float = 1e-4
    ema_decay: float | None = None
    backbone_lr_mult: float = 1.0
    head_lr_mult: float = 1.0
    bias_lr_mult: float = 2.0
    batch_norm: str = "train"
    bn_momentum: float | None = None
    class_weights: Sequence[float] | None = None
    hard_pixel_fraction: float = 1.0
    hard_pixel_steps: int = 0


def learning_rate(recipe: Recipe, epoch_steps: float) -> Policy:
    """The policy of a recipe, where a pass over the images takes ``epoch_steps``."""
    steps = recipe.max_steps - recipe.warmup_steps
    if recipe.schedule == "cosine":
        policy = cosine(steps=steps)
    elif recipe.schedule == "exponential":
        assert recipe.decay_rate is not None
        assert recipe.decay_epochs is not None
        policy = exponential(factor=recipe.decay_rate, steps=recipe.decay_epochs * epoch_steps)
    else:
        assert recipe.power is not None
        policy = poly(steps=steps, power=recipe.power)
    return warmup(
        policy,
        steps=recipe.warmup_steps,
        factor=recipe.warmup_lr / recipe.lr,
        linear=recipe.warmup_mode == "linear",
    )


class TrainingModule(LightningModule):
    """What the training of any network here has: optimizer, schedule, batch norm, randomness.

    Args:
        model: the network; its backbone's parameters have names that begin with ``backbone``.
        recipe: how it is trained.
        class_names: one per class.
        epoch_steps: training steps in one pass over the images, where the schedule asks for it.
        seed: of dropout, which is drawn from (seed, step), so that a continued run equals an
            uninterrupted one.
        channels_last: memory format of weights and images.
        compiled: train the compiled network (validation's sizes vary, it runs uncompiled).
        fused_optimizer: let the optimizer update all parameters in one kernel.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        class_names: Sequence[str],
        *,
        epoch_steps: float = 1.0,
        seed: int = 0,
        channels_last: bool = False,
        compiled: bool = False,
        fused_optimizer: bool = False,
    ) -> None:
        super().__init__()
        self.recipe, self.class_names, self.seed = recipe, tuple(class_names), seed
        self.epoch_steps = epoch_steps
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.fused_optimizer = fused_optimizer
        self.model = model.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        set_batch_norm(self.model, momentum=recipe.bn_momentum)
        self.average = averaged(self.model) if recipe.ema_decay else None
        # Held in a tuple so that it is no submodule: the state dict knows the parameters once.
        self._runner: tuple[Callable[[Tensor], Tensor]] = (
            torch.compile(model) if compiled else model,
        )
        self.scored_step = -1
        """The training step that the last validation was behind."""

    @property
    def result(self) -> Any:
        """What is validated and kept: the average, where there is one."""
        return self.average or self.model

    def train(self, mode: bool = True) -> Self:
        """As for any module, but frozen batch norms and the average stay in evaluation mode."""
        super().train(mode)
        if self.average:
            self.average.eval()
        if self.recipe.batch_norm == "frozen":
            for norm in batch_norms(self.model):
                norm.eval()
        return self

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed(hash((self.seed, self.global_step, self.global_rank)))

    def log_step(self, loss: Tensor) -> None:
        """Log what every training step has."""
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Train and average; here, since what saves and validates comes behind it."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.average:
            assert self.recipe.ema_decay is not None
            decay = decay_at(self.global_step, self.recipe.ema_decay)
            update_average(self.average, self.model, decay)

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        groups = parameter_groups(
            self.model,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            backbone_multiplier=recipe.backbone_lr_mult,
            head_multiplier=recipe.head_lr_mult,
            bias_multiplier=recipe.bias_lr_mult,
        )
        optimizer = build_optimizer(
            groups,
            recipe.optimizer,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            betas=recipe.betas,
            # Mixed precision divides the gradients by its scale within a fused update, too late
            # for a limit on their norm, so that Lightning refuses both together.
            fused=self.fused_optimizer and recipe.gradient_clip_val is None,
        )
        policy = learning_rate(recipe, self.epoch_steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, policy)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
