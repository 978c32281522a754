"""The end of a run whose loss is not finite."""

import math
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from deeplab.utils.errors import UserError


class TerminateOnNonFinite(Callback):
    """End a run whose loss is not finite, and save nothing from that step on.

    Must come before callbacks that save checkpoints. The first non-finite step is kept on the
    device. It is checked where the program waits for the GPU anyway: when losses are logged,
    before a checkpoint is saved, and at the end.

    Args:
        every_n_steps: steps between two checks.
        advice: settings that the user can try.
    """

    def __init__(self, every_n_steps: int, advice: str) -> None:
        self.every_n_steps, self.advice = every_n_steps, advice
        self._first_bad_step: Tensor | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        step = trainer.global_step  # 1 after the first step, as in metrics.csv
        bad_step = torch.where(outputs["loss"].isfinite(), math.inf, float(step))
        first = self._first_bad_step
        self._first_bad_step = bad_step if first is None else first.minimum(bad_step)
        if step % self.every_n_steps == 0:
            self._check()

    def on_save_checkpoint(self, *_: Any) -> None:
        self._check()

    def _check(self) -> None:
        step = math.inf if self._first_bad_step is None else self._first_bad_step.item()
        if step < math.inf:
            raise UserError(
                f"The loss of step {step:.0f} is not finite (nan or infinite): training has "
                f"diverged. The run ends; its last checkpoint is from before that step. "
                f"{self.advice}"
            )
