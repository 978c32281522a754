"""Lines about the progress of long work, where there is no progress bar."""

import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta

NUM_LINES = 10
"""Default number of lines, evenly spaced, if the work is short."""

MAX_INTERVAL = 300.0
"""Longest time in seconds between two lines."""


def in_notebook() -> bool:
    """Return True in a kernel of Jupyter."""
    return "ipykernel" in sys.modules


def can_show_bars() -> bool:
    """Return True in a notebook, or a terminal that moves its cursor and has a width.

    A file would keep every state of a bar.
    """
    if in_notebook():
        return True
    moves_cursor = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return moves_cursor and os.get_terminal_size(sys.stdout.fileno()).columns > 0


class ProgressLines:
    """Prints a line now and then: after equal parts of the work, and every few minutes.

    The speed is that since the last line. The first part does not count, if there are others: it
    may compile a network or fill caches.

    Args:
        total: number of parts of the work.
        unit: name of a part, such as ``step``.
        done: number of parts that an earlier session has done.
        num_lines: number of lines if the work is short; 0: only those every few minutes.
        show: False to print nothing.
    """

    def __init__(
        self,
        total: int,
        unit: str,
        *,
        done: int = 0,
        num_lines: int = NUM_LINES,
        show: bool = True,
    ) -> None:
        self.total, self.unit, self.done, self.show = total, unit, done, show
        self.num_lines = num_lines
        self._printed_at = time.monotonic()
        self._since = done, self._printed_at
        """Parts and time from which on the speed of the next line is measured."""
        self._is_first = True

    def advance(self, count: int = 1, text: Callable[[], str] = str) -> None:
        """Count finished parts and print a line if it is time, which ends with ``text()``."""
        lines_before = self.done * self.num_lines // self.total
        self.done += count
        now = time.monotonic()
        is_due = self.done * self.num_lines // self.total > lines_before
        if self.show and (is_due or now - self._printed_at > MAX_INTERVAL):
            done, start = self._since
            self._printed_at, self._since = now, (self.done, now)
            seconds = (now - start) / (self.done - done)
            left = timedelta(seconds=round(seconds * (self.total - self.done)))
            share = f"{self.done} of {self.total} ({self.done / self.total:.0%})"
            line = f"{self.unit} {share}, {seconds:.3g} s each, {left} left: {text()}"
            print(line.removesuffix(": "), flush=True)
        elif self._is_first:
            self._since = self.done, now
        self._is_first = False
