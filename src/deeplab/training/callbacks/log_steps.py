"""Logging of training steps."""

from typing import Any

from lightning import Callback, Trainer


class LogSteps(Callback):
    """Log what is logged in every n-th step, as soon as it is done.

    Lightning logs a step after the callbacks that save a checkpoint of it, so that a kill between
    the two would lose its row.

    Args:
        every_n_steps: steps between two rows.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        step = trainer.global_step  # 1 after the first step, as in metrics.csv
        if step % self.every_n_steps == 0:
            logged = trainer._logger_connector.metrics["log"]  # logged_metrics has validations too
            row = {name: float(value) for name, value in logged.items()}
            for logger in trainer.loggers:
                logger.log_metrics(row, step=step - 1)
