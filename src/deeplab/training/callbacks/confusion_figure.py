"""Figure of the confusion matrix."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from deeplab.training.confusion_plot import plot_confusion


class ConfusionFigure(Callback):
    """Draws the confusion matrix of each validation.

    Args:
        class_names: names of the classes.
        path: file of the figure.
        log: called with the path and the step, such as for W&B.
    """

    def __init__(
        self, class_names: Sequence[str], path: Path, *, log: Callable[[Path, int], None]
    ) -> None:
        self.class_names, self.path, self.log_figure = class_names, path, log

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        matrix = getattr(pl_module, "matrix", None)
        if trainer.is_global_zero and matrix is not None:
            plot_confusion(matrix, self.class_names, self.path)
            self.log_figure(self.path, trainer.global_step)
