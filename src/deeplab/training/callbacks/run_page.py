"""The page of a run, while it is trained."""

import time

from lightning import Callback, LightningModule, Trainer

from deeplab.config.schema.run import RunConfig
from deeplab.metrics.definitions import Metric
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.callbacks.confusion_figure import INTERVAL
from deeplab.training.curves import plot_curves
from deeplab.training.run_page import write_run_page


class RunPage(Callback):
    """Draws the curves and writes the page after validations, behind their figures.

    Args:
        config: config of the run.
        folder: the run folder.
        metric: main metric of the validation.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, metric: Metric) -> None:
        self.config, self.folder, self.metric = config, folder, metric
        self._written = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        recent = time.monotonic() < self._written + INTERVAL
        if trainer.is_global_zero and not recent and self.folder.metrics_csv.exists():
            self._written = time.monotonic()
            plot_curves(self.folder, self.metric)
            write_run_page(self.config, self.folder, step=trainer.global_step)
