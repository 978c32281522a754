"""Figure of the confusion matrix."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from deeplab.training.confusion_plot import plot_confusion

INTERVAL = 20.0
"""Seconds between two drawings of a figure at least; each takes a fraction of a second."""


class ConfusionFigure(Callback):
    """Draws the confusion matrix after validations, and always that of the last one.

    Args:
        class_names: names of the classes.
        path: file of the figure.
        log: called with the path and the step, such as for W&B.
    """

    def __init__(
        self, class_names: Sequence[str], path: Path, *, log: Callable[[Path, int], None]
    ) -> None:
        self.class_names, self.path, self.log_figure = class_names, path, log
        self._drawn = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        matrix = getattr(pl_module, "matrix", None)
        last = trainer.should_stop or trainer.global_step >= trainer.max_steps
        due = last or time.monotonic() >= self._drawn + INTERVAL
        if trainer.is_global_zero and matrix is not None and due:
            self._drawn = time.monotonic()
            plot_confusion(matrix, self.class_names, self.path)
            self.log_figure(self.path, trainer.global_step - 1)  # as the scores are
