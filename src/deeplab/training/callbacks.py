"""What happens beside training: the progress bar, its early ends, the picture of validation
images."""

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
from deeplab.utils.files import replacing
from deeplab.utils.visualization import Example, Pixels, example_sheet

STATES_IN_FILE = 20
"""Of the progress bar of a run."""


class RunProgress(TQDMProgressBar):
    """One bar for the whole run: training is a single stream of steps. A file, which keeps every
    state of a bar, gets a few only."""

    def __init__(self, steps: int) -> None:
        seen = sys.stdout.isatty()
        super().__init__(refresh_rate=1 if seen else max(1, steps // STATES_IN_FILE))

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer)
        self.train_progress_bar.set_description("Training")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return dict(metrics)


AGAIN = 1.0
"""Seconds after which a signal is a second one, and not the same that came on another way."""


class StopBetweenSteps(Callback):
    """Ctrl-C and SIGTERM end the run behind the present step, with a checkpoint of it.

    (Lightning stops wherever it is, and a checkpoint of half a step does not continue exactly.)
    A second Ctrl-C stops at once. What would have been logged or validated behind that step is
    not; the continued run goes on with the next one. During a validation the run ends without a
    checkpoint of its own. All processes of a run stop together, whichever gets the signal; they
    agree every ten steps.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.asked = False
        self._asked_at = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals while this is entered."""
        before = self._listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _listen(self) -> dict[signal.Signals, Any]:
        """Returns the handlers that were there."""
        return {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}

    def on_train_start(self, *_: Any) -> None:
        # Lightning has put its own before ours, which on several devices talks to the others in the
        # middle of a step: they hang, or stop before they have agreed
        self._listen()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            if time.monotonic() - self._asked_at < AGAIN:
                return  # a queue tells all processes, and those tell those that they have started
            raise KeyboardInterrupt
        self.asked, self._asked_at = True, time.monotonic()
        print(
            "\nStopping behind this step; the same command continues. Once more to stop at once.",
            flush=True,
        )

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.world_size > 1 and trainer.global_step % 10:
            return  # to agree waits for every device
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            trainer.save_checkpoint(self.checkpoint)
            raise KeyboardInterrupt

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.asked and trainer.world_size == 1:
            raise KeyboardInterrupt


class TerminateOnNonFinite(Callback):
    """Ends a run whose loss is not finite: nothing is saved of it from there on.

    Is to stand before what saves. The first such step is kept on the device and looked at where a
    GPU is waited for anyway: when losses are logged, before a checkpoint is saved, at the end.

    Args:
        every: steps from one look to the next.
        advice: what the user may try.
    """

    def __init__(self, every: int, advice: str) -> None:
        self.every, self.advice = every, advice
        self._lost_at: Tensor | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        step = trainer.global_step  # behind the first it is 1, as in metrics.csv
        lost_at = torch.where(outputs["loss"].isfinite(), math.inf, float(step))
        self._lost_at = lost_at if self._lost_at is None else self._lost_at.minimum(lost_at)
        if step % self.every == 0:
            self._look()

    def on_save_checkpoint(self, *_: Any) -> None:
        self._look()

    def _look(self) -> None:
        lost_at = math.inf if self._lost_at is None else self._lost_at.item()
        if lost_at < math.inf:
            raise UserError(
                f"The loss of step {lost_at:.0f} is not finite (nan or infinite): the network is "
                f"lost, and the run ends with its last checkpoint before. {self.advice}"
            )


class ExamplePictures(Callback):
    """Keeps the predictions for some validation images and paints them after each validation.

    Args:
        image_ids: which images.
        class_names, palette: for the colors.
        path: the picture's file.
        publish: called with the examples, the picture's file and the step, such as for W&B.
    """

    def __init__(
        self,
        image_ids: Sequence[str],
        class_names: Sequence[str],
        palette: Pixels,
        path: Path,
        publish: Sequence[Callable[[list[Example], Path, int], None]] = (),
    ) -> None:
        self.image_ids = list(image_ids)
        self.class_names, self.palette, self.path = class_names, palette, path
        self.publish = publish
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
            sheet = example_sheet(examples, self.class_names, self.palette)
            with replacing(self.path) as draft:
                sheet.save(draft, format="PNG")
            for publish in self.publish:
                publish(examples, self.path, trainer.global_step)
