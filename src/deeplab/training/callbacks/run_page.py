"""The page of a run, while it is trained."""

from lightning import Callback, LightningModule, Trainer

from deeplab.config.schema.run import RunConfig
from deeplab.metrics.definitions import Metric
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.curves import plot_curves
from deeplab.training.run_page import write_run_page


class RunPage(Callback):
    """Draws the curves and writes the page after each validation, behind its figures.

    Args:
        config: config of the run.
        folder: the run folder.
        metric: main metric of the validation.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, metric: Metric) -> None:
        self.config, self.folder, self.metric = config, folder, metric

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and self.folder.metrics_csv.exists():
            plot_curves(self.folder, self.metric)
            write_run_page(self.config, self.folder, step=trainer.global_step)
