"""The end of a run whose score does not rise any more."""

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from deeplab.metrics.definitions import Metric


class EarlyStop(EarlyStopping):
    """End the training after some validations without a better score, and say so.

    Args:
        metric: the score.
        patience: number of validations.
    """

    def __init__(self, metric: Metric, patience: int) -> None:
        mode = "max" if metric.higher_is_better else "min"
        super().__init__(
            metric.logged_as,
            patience=patience,
            mode=mode,
            min_delta=0.0,
            check_finite=False,  # there may be nothing to score yet
            check_on_train_epoch_end=False,
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        is_early = trainer.should_stop and trainer.global_step < trainer.max_steps
        if is_early and trainer.is_global_zero:
            print(
                f"\nStopped early after step {trainer.global_step} of {trainer.max_steps}: "
                f"{self.monitor} has not become better than {float(self.best_score):.2f} in "
                f"{self.patience} validations (stage.early_stopping={self.patience})."
            )
