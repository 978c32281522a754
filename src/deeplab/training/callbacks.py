"""Callbacks: progress bar, early stops and the figure of validation images."""

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor

from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.visualization import Example, Pixels, segmentation_figure

UPDATES_IN_FILE = 20
"""Number of progress bar updates when the output goes to a file."""


class RunProgress(TQDMProgressBar):
    """One progress bar for the whole run.

    Training is a single stream of steps. A file keeps every update of a bar, so it gets only a
    few of them.
    """

    def __init__(self, steps: int) -> None:
        is_terminal = sys.stdout.isatty()
        super().__init__(refresh_rate=1 if is_terminal else max(1, steps // UPDATES_IN_FILE))

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer)
        self.train_progress_bar.set_description("Training")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return dict(metrics)


SECOND_SIGNAL_DELAY = 1.0
"""Seconds within which another signal is a duplicate of the first one."""


class GracefulStop(Callback):
    """Stop after the current step, with a checkpoint, on Ctrl-C or SIGTERM.

    (Lightning stops in the middle of a step, and a run does not resume exactly from such a
    checkpoint.) A second Ctrl-C stops immediately. Logging and validation that are due after the
    last step are skipped; the resumed run continues with the next step. A run that is stopped
    during validation ends without a new checkpoint. All processes of a run stop together,
    whichever gets the signal; they agree every ten steps.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.stop_requested = False
        self._requested_at = 0.0

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Handle the signals inside a ``with`` block, then restore the previous handlers."""
        previous = self._install_handlers()
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _install_handlers(self) -> dict[signal.Signals, Any]:
        """Install the signal handlers and return the previous ones."""
        return {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}

    def on_train_start(self, *_: Any) -> None:
        # Lightning has replaced these handlers with its own. On several devices those communicate
        # with the other processes in the middle of a step, which then hang, or stop too early.
        self._install_handlers()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stop_requested:
            if time.monotonic() - self._requested_at < SECOND_SIGNAL_DELAY:
                return  # a job scheduler signals all processes, and parents signal their children
            raise KeyboardInterrupt
        self.stop_requested, self._requested_at = True, time.monotonic()
        print(
            "\nStopping after this step. Run the same command to resume; press Ctrl-C again to "
            "abort.",
            flush=True,
        )

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.world_size > 1 and trainer.global_step % 10:
            return  # the common decision waits for every device
        if trainer.strategy.reduce_boolean_decision(self.stop_requested, all=False):
            trainer.save_checkpoint(self.checkpoint)
            raise KeyboardInterrupt

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.stop_requested and trainer.world_size == 1:
            raise KeyboardInterrupt


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


class ExampleFigure(Callback):
    """Draws the predictions for some validation images after each validation.

    Args:
        image_ids: ids of the images.
        class_names: one per class, for the legend.
        palette: colors of the classes.
        path: file of the figure.
        log_functions: called with the examples, the path and the step, such as for W&B.
    """

    def __init__(
        self,
        image_ids: Sequence[str],
        class_names: Sequence[str],
        palette: Pixels,
        path: Path,
        log_functions: Sequence[Callable[[list[Example], Path, int], None]] = (),
    ) -> None:
        self.image_ids = list(image_ids)
        self.class_names, self.palette, self.path = class_names, palette, path
        self.log_functions = log_functions
        self._examples: dict[str, Example] = {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Any,
        batch: dict[str, Any],
        *_: Any,
    ) -> None:
        for i, image_id in enumerate(batch["image_id"]):
            if image_id in self.image_ids:
                height, width = batch["size"][i]  # without the padding
                self._examples[image_id] = Example(
                    image_id,
                    batch["image"][i].permute(1, 2, 0)[:height, :width].cpu().numpy(),
                    batch["label"][i, :height, :width].cpu().numpy(),
                    outputs[i, :height, :width].cpu().numpy(),
                )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        examples = [self._examples[i] for i in self.image_ids if i in self._examples]
        if trainer.is_global_zero and examples:
            figure = segmentation_figure(examples, self.class_names, self.palette)
            with atomic_write(self.path) as draft:
                figure.save(draft, format="PNG")
            for log in self.log_functions:
                log(examples, self.path, trainer.global_step)
