"""Stop of a run by Ctrl-C or another stop signal: after the current step, with a checkpoint."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any

from lightning import Callback, Trainer

from deeplab.utils.interrupts import handling_stop_signals
from deeplab.utils.parallel import is_first_process

SECOND_SIGNAL_DELAY = 1.0
"""Seconds within which another signal is a duplicate of the first one."""


class GracefulStop(Callback):
    """Stop after the current step, with a checkpoint, on Ctrl-C or another stop signal.

    (Lightning stops in the middle of a step, and a run does not resume exactly from such a
    checkpoint.) A second Ctrl-C stops immediately. A run that is stopped during validation has a
    checkpoint from before it, and begins with it when it is resumed. All processes of a run stop
    together, whichever gets the signal: they agree after each step. (During a validation they
    cannot, since they may have different numbers of images; they stop after the next step.)

    Args:
        save: saves a checkpoint; called in every process.
        max_duration: time after which the run stops in the same way (``trainer.max_time``).
    """

    def __init__(
        self, save: Callable[[Trainer], None], max_duration: timedelta | None = None
    ) -> None:
        self.save = save
        self.deadline = (
            time.monotonic() + max_duration.total_seconds() if max_duration is not None else None
        )
        self.stop_requested = False
        self._requested_at = 0.0
        self._announced = False

    def handling_signals(self) -> AbstractContextManager[None]:
        """Handle the signals inside a ``with`` block, then restore the previous handlers."""
        return handling_stop_signals(self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stop_requested:
            if time.monotonic() - self._requested_at < SECOND_SIGNAL_DELAY:
                return  # a job scheduler signals all processes, and parents signal their children
            raise KeyboardInterrupt
        self.stop_requested, self._requested_at = True, time.monotonic()
        self._announce()

    def _announce(self, reason: str = "") -> None:
        """Say once, in the main process, that the run stops."""
        if not self._announced and is_first_process():
            with suppress(OSError):  # the terminal is closed
                print(
                    f"\n{reason}Stopping after this step. Run the same command to resume; press "
                    "Ctrl-C again to abort.",
                    flush=True,
                )
        self._announced = True

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        is_late = self.deadline is not None and time.monotonic() > self.deadline
        if trainer.strategy.reduce_boolean_decision(self.stop_requested or is_late, all=False):
            self._announce("The time of trainer.max_time is over. " * is_late)
            self.save(trainer)
            raise KeyboardInterrupt

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.stop_requested and trainer.world_size == 1:
            raise KeyboardInterrupt
