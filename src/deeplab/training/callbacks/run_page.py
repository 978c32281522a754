"""The page of a run, while it is trained."""

from collections.abc import Mapping
from typing import Any

from lightning import Trainer

from deeplab.config.schema.run import RunConfig
from deeplab.metrics.definitions import Metric
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.callbacks.validation_figure import (
    MIN_INTERVAL,
    ValidationFigure,
    is_last_validation,
)
from deeplab.training.curves import plot_curves
from deeplab.training.run_page import write_run_page
from deeplab.utils.visualization import Color


class RunPage(ValidationFigure):
    """Draws the curves and writes the page, behind the other figures.

    Args:
        config: config of the run.
        folder: the run folder.
        metric: main metric of the validation.
        class_colors: colors of the classes by name.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        metric: Metric,
        class_colors: Mapping[str, Color],
    ) -> None:
        super().__init__(MIN_INTERVAL)
        self.config, self.folder, self.metric = config, folder, metric
        self.class_colors = class_colors

    def draw(self, trainer: Trainer, module: Any) -> None:
        # The last page is written after the training, with its result.
        if not is_last_validation(trainer) and self.folder.metrics_csv.exists():
            plot_curves(self.folder, self.metric, self.class_colors)
            write_run_page(self.config, self.folder, step=trainer.global_step)
