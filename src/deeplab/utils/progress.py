"""Progress of long work: a bar, or lines where none can be shown."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import NoReturn, Self, TextIO, TypeVar

from tqdm import tqdm

from deeplab.utils.text import format_size

T = TypeVar("T")

NUM_LINES = 10
"""Number of lines, evenly spaced, if the work is short."""

MIN_INTERVAL, MAX_INTERVAL = 2.0, 300.0
"""Shortest time in seconds between two lines instead of a bar, and longest time between any two."""


def in_notebook() -> bool:
    """Return True in a kernel of Jupyter."""
    return "ipykernel" in sys.modules


def can_show_bars(stream: TextIO) -> bool:
    """Return True in a notebook, or for a terminal that moves its cursor and has a width.

    A file would keep every state of a bar.
    """
    if in_notebook():
        return True
    moves_cursor = stream.isatty() and os.environ.get("TERM") != "dumb"
    return moves_cursor and os.get_terminal_size(stream.fileno()).columns > 0


class ProgressLines:
    """Prints a line now and then: after equal parts of the work, and every few minutes.

    The speed is that since the last line. The first part does not count, if there are others: it
    may compile a network or fill caches.

    Args:
        title: how a line begins, such as ``Step``.
        total: number of parts of the work; None: unknown.
        done: number of parts that an earlier session has done.
        num_lines: number of lines if the work is short; 0: only those every few minutes.
        min_interval: shortest time in seconds between two lines.
        in_bytes: True if the parts are bytes.
        stream: where the lines are printed; None: to standard output.
        show: False to print nothing.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        *,
        done: int = 0,
        num_lines: int = NUM_LINES,
        min_interval: float = 0.0,
        in_bytes: bool = False,
        stream: TextIO | None = None,
        show: bool = True,
    ) -> None:
        self.title, self.total, self.done = title, total, done
        self.num_lines, self.min_interval = num_lines, min_interval
        self.in_bytes, self.stream, self.show = in_bytes, stream, show
        self._printed_at = time.monotonic()
        self._since = done, self._printed_at
        """Parts and time from which on the speed of the next line is measured."""
        self._is_first, self._has_printed = True, False

    def advance(self, count: int = 1, text: Callable[[], str] = str) -> None:
        """Count finished parts and print a line if it is time, which ends with ``text()``."""
        lines_before = self._num_due()
        self.done += count
        now = time.monotonic()
        waited = now - self._printed_at
        is_due = self._num_due() > lines_before and waited >= self.min_interval
        is_due |= self._has_printed and self.done == self.total
        done, start = self._since
        if self.show and self.done > done and (is_due or waited > MAX_INTERVAL):
            self._printed_at, self._since, self._has_printed = now, (self.done, now), True
            line = f"{self.title} {self._describe(self.done - done, now - start)}: {text()}"
            print(line.removesuffix(": "), file=self.stream or sys.stdout, flush=True)
        elif self._is_first:
            self._since = self.done, now
        self._is_first = False

    def restart(self, done: int, total: int | None) -> None:
        """Go on from another number of finished parts."""
        self.done, self.total = done, total
        self._since = done, time.monotonic()

    def _num_due(self) -> int:
        """Return the number of lines that are due, apart from those every few minutes."""
        return self.done * self.num_lines // self.total if self.total else 0

    def _describe(self, count: int, seconds: float) -> str:
        """Return how much is done and left, after ``count`` parts in this time."""
        amount = format_size if self.in_bytes else str
        text = amount(self.done)
        if self.total:
            text += f" of {amount(self.total)} ({self.done / self.total:.0%})"
        speed = count / seconds
        text += f", {format_size(speed)}/s" if self.in_bytes else f", {1 / speed:.3g} s each"
        if self.total:
            left = timedelta(seconds=round((self.total - self.done) / speed))
            text += f", {left} left"
        return text


class ProgressBar:
    """A bar of tqdm on standard error, or lines there where none can be shown.

    Args:
        desc: name of the work.
        total: number of parts of the work; None: unknown.
        unit: name of a part in the bar; ``B``: bytes.
        done: number of parts that an earlier session has done.
        leave: False to remove the bar at the end, and to print lines every few minutes only.
        delay: seconds until the bar is shown.
        show: False to show nothing.
    """

    def __init__(
        self,
        desc: str,
        total: int | None,
        unit: str,
        *,
        done: int = 0,
        leave: bool = True,
        delay: float = 0.0,
        show: bool = True,
    ) -> None:
        shows_bar = show and can_show_bars(sys.stderr)
        in_bytes = unit == "B"
        self._bar: tqdm[NoReturn] = tqdm(
            desc=desc, total=total, initial=done, unit=unit, unit_scale=in_bytes, leave=leave,
            delay=delay, dynamic_ncols=True, disable=not shows_bar,
        )  # fmt: skip
        self._lines = ProgressLines(
            f"{desc}:",
            total,
            done=done,
            num_lines=NUM_LINES if leave else 0,
            min_interval=MIN_INTERVAL,
            in_bytes=in_bytes,
            stream=sys.stderr,
            show=show and not shows_bar,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, count: int = 1) -> None:
        """Count finished parts."""
        self._bar.update(count)
        self._lines.advance(count)

    def restart(self, done: int, total: int | None) -> None:
        """Go on from another number of finished parts, of another total."""
        self._bar.n = self._bar.initial = done
        self._bar.total = total
        self._lines.restart(done, total)

    def set_state(self, text: str) -> None:
        """Show what is being done apart from what is counted; an empty text: nothing."""
        self._bar.set_postfix_str(text)
        if text and self._lines.show:
            print(f"{self._lines.title} {text}", file=sys.stderr, flush=True)


def show_progress(
    items: Iterable[T], desc: str, total: int | None, unit: str, *, show: bool = True
) -> Iterator[T]:
    """Yield the items and show how many are done; the arguments are those of the bar."""
    with ProgressBar(desc, total, unit, show=show) as bar:
        for item in items:
            yield item
            bar.update()
