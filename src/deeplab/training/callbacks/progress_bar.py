"""The progress bar of a run."""

import sys
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

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
