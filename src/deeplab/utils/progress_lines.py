"""Lines about the progress of long work, where there is no progress bar."""

import time
from collections.abc import Callable
from datetime import timedelta

NUM_LINES = 10
"""Number of lines, evenly spaced, if the work is short."""

MAX_INTERVAL = 300.0
"""Longest time in seconds between two lines."""


class ProgressLines:
    """Prints a line now and then: after each tenth of the work, and every few minutes.

    Args:
        total: number of parts of the work.
        unit: name of a part, such as ``step``.
        done: number of parts that an earlier session has done.
        show: False to print nothing.
    """

    def __init__(self, total: int, unit: str, *, done: int = 0, show: bool = True) -> None:
        self.total, self.unit, self.done, self.show = total, unit, done, show
        self._first, self._started_at = done, time.monotonic()
        self._printed_at = self._started_at

    def advance(self, count: int = 1, text: Callable[[], str] = str) -> None:
        """Count finished parts and print a line if it is time, which ends with ``text()``."""
        lines_before = self.done * NUM_LINES // self.total
        self.done += count
        now = time.monotonic()
        is_due = self.done * NUM_LINES // self.total > lines_before
        if self.show and (is_due or now - self._printed_at > MAX_INTERVAL):
            self._printed_at = now
            seconds = (now - self._started_at) / (self.done - self._first)
            left = timedelta(seconds=round(seconds * (self.total - self.done)))
            share = f"{self.done} of {self.total} ({self.done / self.total:.0%})"
            line = f"{self.unit} {share}, {seconds:.3g} s each, {left} left: {text()}"
            print(line.removesuffix(": "), flush=True)
