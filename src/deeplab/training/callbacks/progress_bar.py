"""The progress bar of a run, or lines instead of it."""

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from deeplab.metrics.definitions import VALIDATION
from deeplab.utils.free_memory import peak_memory
from deeplab.utils.progress import ProgressLines, in_notebook

SMOOTHING = 0.05
"""Weight of the last update in the bar's speed: that of the last 20 to 40 steps, which soon forgets
the first ones, in which a network is compiled."""

MEMORY_COLUMNS = 100
"""Width of a terminal from which on the bar also shows the memory."""


class RunProgress(TQDMProgressBar):
    """One progress bar for the whole run, because training is a single stream of steps."""

    BAR_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{remaining} left, {rate_noinv_fmt}{postfix}]"

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def init_train_tqdm(self) -> Tqdm:
        """Return the bar of all steps, those of earlier sessions among them."""
        return Tqdm(
            desc="Training",
            total=self.steps,
            initial=self.trainer.global_step,
            disable=self.is_disabled,
            dynamic_ncols=True,
            file=sys.stdout,
            smoothing=SMOOTHING,
            bar_format=self.BAR_FORMAT,
        )

    def init_validation_tqdm(self) -> Tqdm:
        """Return Lightning's bar, or none where it could not be drawn below the one of the run.

        A notebook without ipywidgets cannot move up to the first bar: each update would add a line.
        """
        if in_notebook() and not importlib.util.find_spec("ipywidgets"):
            return Tqdm(disable=True)
        return super().init_validation_tqdm()

    def on_train_epoch_start(self, *_: Any) -> None:
        """Keep the bar; Lightning's would count the batches of this session."""

    def on_validation_batch_start(self, *arguments: Any, **keywords: Any) -> None:
        """Keep the bar's name; Lightning adds the number of the only data loader."""
        super().on_validation_batch_start(*arguments, **keywords)
        self.val_progress_bar.set_description(self.validation_description)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands after the bar, short enough for narrow terminals, which cut it off."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        short = {name.rpartition("/")[2]: value for name, value in metrics.items()}
        if shutil.get_terminal_size().columns >= MEMORY_COLUMNS:
            short["memory"] = f"{peak_memory(pl_module.device.type) / 1e9:.1f} GB"
        return short


class RunProgressLines(Callback):
    """Lines about the progress of a run that shows no progress bar, and of its long validations."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        show = trainer.is_global_zero
        self.lines = ProgressLines("Step", self.steps, done=trainer.global_step, show=show)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        metrics = trainer.progress_bar_metrics
        self.lines.advance(text=lambda: _format_metrics(metrics, pl_module.scored_step))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total, show = int(sum(trainer.num_val_batches)), trainer.is_global_zero
        self.validation = ProgressLines("Validation batch", total, num_lines=0, show=show)

    def on_validation_batch_end(self, *_: Any) -> None:
        self.validation.advance()


def _format_metrics(metrics: Mapping[str, float], scored_step: object) -> str:
    """Return the loss of the step, and the scores of the last validation with their step."""
    return ", ".join(
        f"{name} {float(value):.4g}" + f" at step {scored_step}" * name.startswith(VALIDATION)
        for name, value in metrics.items()
    )
