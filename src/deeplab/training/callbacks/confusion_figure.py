"""Figure of the confusion matrix."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning import Trainer

from deeplab.training.callbacks.validation_figure import MIN_INTERVAL, ValidationFigure
from deeplab.training.confusion_plot import plot_confusion


class ConfusionFigure(ValidationFigure):
    """Draws the confusion matrix.

    Args:
        class_names: names of the classes.
        path: file of the figure.
        log: called with the path and the step, such as for W&B.
    """

    def __init__(
        self, class_names: Sequence[str], path: Path, *, log: Callable[[Path, int], None]
    ) -> None:
        super().__init__(MIN_INTERVAL)
        self.class_names, self.path, self.log_figure = class_names, path, log

    def draw(self, trainer: Trainer, module: Any) -> None:
        matrix = getattr(module, "matrix", None)
        if matrix is not None:
            plot_confusion(matrix, self.class_names, self.path)
            self.log_figure(self.path, trainer.global_step - 1)  # as the scores are
