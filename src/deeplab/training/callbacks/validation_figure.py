"""Base class of what is drawn after validations."""

import time
from abc import abstractmethod
from typing import Any

from lightning import Callback, Trainer

MIN_INTERVAL = 20.0
"""Seconds between two drawings at least, where each takes a fraction of a second."""


class ValidationFigure(Callback):
    """Draws in the first process after validations, except for a sanity check.

    Args:
        min_interval: least number of seconds between two drawings; that after the last validation
            is due in any case.
    """

    def __init__(self, min_interval: float = 0.0) -> None:
        self.min_interval = min_interval
        self._drawn_at = time.monotonic()

    @abstractmethod
    def draw(self, trainer: Trainer, module: Any) -> None:
        """Draw the state after a validation."""

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        now = time.monotonic()
        if is_last_validation(trainer) or now >= self._drawn_at + self.min_interval:
            self._drawn_at = now
            self.draw(trainer, pl_module)


def is_last_validation(trainer: Trainer) -> bool:
    """Return True if no training follows, also because of early stopping."""
    return trainer.should_stop or trainer.global_step >= trainer.max_steps
