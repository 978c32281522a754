"""Checkpoints of a run: the last one to resume from, and the best one."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from deeplab.config.schema.run import RunConfig
from deeplab.metrics.definitions import Metric
from deeplab.tracking.run_folder import RunFolder


def validation_interval(config: RunConfig) -> int:
    """Return the number of steps between two validations."""
    return _interval(config, config.trainer.num_validations)


def _interval(config: RunConfig, count: int) -> int:
    """Return the number of steps between two of ``count`` events, the last one at the end."""
    return -(-config.stage.max_steps // max(1, count))


class SaveCheckpoints(Callback):
    """Save ``last.ckpt`` after training steps, and ``best.ckpt`` after validations.

    Lightning's ``ModelCheckpoint`` does not fit here: resumed from a checkpoint of a step that a
    validation follows, Lightning leaves out the validation. Instead, ``last.ckpt`` always is the
    state after a training step that is logged and before the validation that may follow it. It is
    written before each validation too, and a resumed run begins with the validation, so that its
    record is that of an uninterrupted run. Must come after the callback that logs the steps.

    Args:
        folder: the run folder.
        metric: the metric that decides which checkpoint is best.
        config: config of the run.
    """

    def __init__(self, folder: RunFolder, metric: Metric, config: RunConfig) -> None:
        self.folder, self.metric = folder, metric
        self.checkpoint_interval = _interval(config, config.trainer.num_checkpoints)
        self.validation_interval = validation_interval(config)
        self.best_score: float | None = None
        self.saved_step = 0
        """Training step of the last checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score = state_dict["best_score"]

    def save_last(self, trainer: Trainer) -> None:
        """Save ``last.ckpt``, unless it is of this step already; called in every process."""
        if self.saved_step != trainer.global_step:
            for logger in trainer.loggers:
                logger.save()
            trainer.save_checkpoint(self.folder.last)
            self.saved_step = trainer.global_step

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.saved_step = trainer.global_step
        if trainer.global_step and self._validation_follows(trainer):
            validation = trainer.fit_loop.epoch_loop.val_loop
            validation.restarting = False
            trainer.validating = True
            validation.run()
            trainer.training = True

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        step = trainer.global_step
        if step % self.checkpoint_interval == 0 or self._validation_follows(trainer):
            self.save_last(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        score = float(trainer.callback_metrics[self.metric.logged_as])
        if self.best_score is None or self._is_better(score, self.best_score):
            self.best_score = score
            trainer.save_checkpoint(self.folder.best)

    def _is_better(self, score: float, other: float) -> bool:
        if other != other:  # nan: nothing to score
            return score == score
        return score > other if self.metric.higher_is_better else score < other

    def _validation_follows(self, trainer: Trainer) -> bool:
        return trainer.global_step % self.validation_interval == 0
