"""Base class of the LightningModules: recipe, optimizer, learning rate and batch norms."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from deeplab.config.parsing import validate
from deeplab.config.schema.lr_scheduler import LRSchedulerSettings, PolySettings
from deeplab.config.schema.optimizer import OptimizerSettings, SGDSettings
from deeplab.config.schema.run import OptimizationConfig
from deeplab.config.schema.stage import Recipe
from deeplab.data.dataset import Batch
from deeplab.metrics.definitions import LEARNING_RATE, TRAIN_LOSS, to_percent
from deeplab.models.layers import batch_norms, set_batch_norm
from deeplab.training.accumulation import MicroBatches
from deeplab.training.backbone_state import BackboneState, wrap_again
from deeplab.training.ema import decay_at, ema_copy, update_ema
from deeplab.training.lr_schedules import build_lr_scheduler
from deeplab.training.optimizers import build_optimizer, parameter_groups
from deeplab.utils.own_code.node import OwnCode

MAX_STEPS = 10**9
"""Steps of a schedule if the trainer has no end."""


class TrainingModule(LightningModule):
    """Base class of all training modules: optimizer, schedule, batch norm, EMA and seeding.

    Args:
        model: the network; the names of its backbone's parameters begin with ``backbone``.
        recipe: optimization recipe; None: the default one over the steps of the trainer.
        class_names: one per class.
        optimizer: keys of ``optimizer``.
        lr_scheduler: keys of ``lr_scheduler``.
        epoch_steps: training steps in one pass over the images, for the exponential schedule.
        seed: seed of dropout, which is drawn from (seed, step), so that a resumed run equals an
            uninterrupted one.
        channels_last: use the channels-last memory format for weights and images.
        compiled: train the compiled network (validation runs uncompiled, since image sizes vary).
        fused_optimizer: let the optimizer update all parameters in one kernel.
        parts: number of parts of each batch whose gradients are accumulated.
        gradient_checkpointing: compute the backbone's units again in the backward pass.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe | Mapping[str, Any] | None,
        class_names: Sequence[str],
        *,
        optimizer: OptimizerSettings | OwnCode | Mapping[str, Any] = SGDSettings(),  # noqa: B008  frozen
        lr_scheduler: LRSchedulerSettings | OwnCode | Mapping[str, Any] = PolySettings(),  # noqa: B008  frozen
        epoch_steps: float = 1.0,
        seed: int = 0,
        channels_last: bool = False,
        compiled: bool = False,
        fused_optimizer: bool = False,
        parts: int = 1,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.micro_batches = MicroBatches(parts)
        settings = {"optimizer": optimizer, "lr_scheduler": lr_scheduler}
        checked = validate(OptimizationConfig, settings)
        self.optimizer_settings = checked.optimizer
        self.lr_scheduler_settings = checked.lr_scheduler
        self.has_recipe = recipe is not None
        self.recipe = validate(Recipe, recipe or {}) if not isinstance(recipe, Recipe) else recipe
        self.class_names, self.seed = tuple(class_names), seed
        self.epoch_steps = epoch_steps
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.fused_optimizer = fused_optimizer
        self.model = model.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        set_batch_norm(self.model, momentum=self.recipe.bn_momentum)
        self.backbone = BackboneState(cast(Any, self.model).backbone, self.recipe.frozen_steps)
        if gradient_checkpointing:
            cast(Any, self.model).backbone.set_gradient_checkpointing(True)
        self.average = ema_copy(self.model) if self.recipe.ema_decay else None
        # In a tuple, so that it is no submodule: the state dict holds each parameter only once.
        self._runner: tuple[Callable[[Tensor], Tensor]] = (
            torch.compile(model) if compiled else model,
        )
        self.scored_step = -1
        """Training step of the last validation."""

    @property
    def eval_model(self) -> Any:
        """Network that is validated and saved: the moving average if there is one."""
        return self.average or self.model

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images, of the network that is validated and saved."""
        logits: Tensor = self.eval_model(images)
        return logits

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, but keep frozen batch norms and the average in eval mode."""
        super().train(mode)
        if self.average:
            self.average.eval()
        if self.recipe.batch_norm == "frozen":
            for norm in batch_norms(self.model):
                norm.eval()
        self.backbone.keep_in_eval_mode()
        return self

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        if self.backbone.update(self.global_step):
            self.train()
            wrap_again(self.trainer.strategy)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.micro_batches.loss(self, self.to_layout(batch["image"]), batch["label"])
        self.log(TRAIN_LOSS, loss, prog_bar=True)
        self.log(LEARNING_RATE, self._learning_rate())
        return loss

    def _learning_rate(self) -> float:
        """Return the rate of parameters without a multiplier."""
        group = self.trainer.optimizers[0].param_groups[0]
        multiplier = group.get("initial_lr", self.recipe.lr) / self.recipe.lr
        return float(group["lr"] / multiplier)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Keep the gradients of the parts before the last one, which exist by now."""
        if self.micro_batches.count == 1:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def run_part(self, images: Tensor, part: int = 0) -> Tensor:
        """Return the logits of a part of the batch; dropout depends on (seed, step, part)."""
        numbers = (self.seed, self.global_step, self.global_rank)
        torch.manual_seed(hash((*numbers, part) if part else numbers))
        return self._runner[0](images)

    @property
    @abstractmethod
    def loss_adds_up(self) -> bool:
        """True if the loss of a batch is the sum of ``compute_loss`` over its parts."""

    @abstractmethod
    def compute_loss(
        self, logits: Tensor, label: Tensor, all_labels: Tensor | None = None
    ) -> Tensor:
        """Return this device's part of the loss of a training batch; their mean is the loss.

        Args:
            logits: output of the network for the images of the batch, or of a part of it.
            label: their labels.
            all_labels: labels of the whole batch, if ``logits`` are of a part; see
                ``loss_adds_up``.
        """

    def to_layout(self, images: Tensor) -> Tensor:
        """Return images in the memory format of the network."""
        return images.contiguous(memory_format=self.memory_format)

    def log_scores(self, values: Mapping[str, float], stage: str = "val") -> None:
        """Log fractions as percentages after a validation; the progress bar shows the first."""
        self.scored_step, shown = self.global_step, next(iter(values))
        self.log("step", float(self.global_step - 1))  # step at which Lightning logs this row
        for name, value in values.items():
            self.log(f"{stage}/{name}", to_percent(value), prog_bar=name == shown)

    @property
    def classes(self) -> dict[str, Any]:
        """Classes as checkpoints and weights files hold them."""
        return {"names": list(self.class_names)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["classes"] = self.classes
        if arguments := self.arguments():
            checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = arguments

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that make this module again, as plain values for a checkpoint.

        ``load_from_checkpoint`` passes them to the constructor.
        """
        return {}

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Update the weights, then the average, before callbacks save or validate it."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.average:
            assert self.recipe.ema_decay is not None
            decay = decay_at(self.global_step, self.recipe.ema_decay)
            update_ema(self.average, self.model, decay)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(
            parameter_groups(self.model, self.recipe),
            self.optimizer_settings,
            # In mixed precision a fused update unscales the gradients itself, which is too late
            # for clipping their norm. Lightning therefore rejects the combination.
            fused=self.fused_optimizer and self.recipe.gradient_clip_val is None,
        )
        recipe = self.recipe
        if not self.has_recipe and self._trainer:
            steps = max(1, int(min(self._trainer.estimated_stepping_batches, MAX_STEPS)))
            recipe = recipe.model_copy(update={"max_steps": steps})
        scheduler = build_lr_scheduler(
            optimizer, self.lr_scheduler_settings, recipe, self.epoch_steps
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
