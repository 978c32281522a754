"""Stop of a run by Ctrl-C or SIGTERM: after the current step, with a checkpoint."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import Callback, Trainer

SECOND_SIGNAL_DELAY = 1.0
"""Seconds within which another signal is a duplicate of the first one."""


class GracefulStop(Callback):
    """Stop after the current step, with a checkpoint, on Ctrl-C or SIGTERM.

    (Lightning stops in the middle of a step, and a run does not resume exactly from such a
    checkpoint.) A second Ctrl-C stops immediately. Logging and validation that are due after the
    last step are skipped; the resumed run continues with the next step. A run that is stopped
    during validation ends without a new checkpoint. All processes of a run stop together,
    whichever gets the signal; they agree every ten steps.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.stop_requested = False
        self._requested_at = 0.0

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Handle the signals inside a ``with`` block, then restore the previous handlers."""
        previous = self._install_handlers()
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _install_handlers(self) -> dict[signal.Signals, Any]:
        """Install the signal handlers and return the previous ones."""
        return {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}

    def on_train_start(self, *_: Any) -> None:
        # Lightning has replaced these handlers with its own. On several devices those communicate
        # with the other processes in the middle of a step, which then hang, or stop too early.
        self._install_handlers()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stop_requested:
            if time.monotonic() - self._requested_at < SECOND_SIGNAL_DELAY:
                return  # a job scheduler signals all processes, and parents signal their children
            raise KeyboardInterrupt
        self.stop_requested, self._requested_at = True, time.monotonic()
        print(
            "\nStopping after this step. Run the same command to resume; press Ctrl-C again to "
            "abort.",
            flush=True,
        )

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.world_size > 1 and trainer.global_step % 10:
            return  # the common decision waits for every device
        if trainer.strategy.reduce_boolean_decision(self.stop_requested, all=False):
            trainer.save_checkpoint(self.checkpoint)
            raise KeyboardInterrupt

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.stop_requested and trainer.world_size == 1:
            raise KeyboardInterrupt
