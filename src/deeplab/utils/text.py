"""Texts: numbers in words, and texts from files of others, made safe to print."""

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

HARMFUL = re.compile(
    # control characters, which move the cursor or color the terminal, line separators, signs that
    # turn the direction of writing, and halves of surrogate pairs
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff\\ud800-\\udfff]"
)


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with its control characters written as ``\x1b``.

    Without them a text cannot move the cursor, color the terminal, begin a line or turn the
    direction of writing.

    Args:
        text: any text.
        keep: control characters that stay.
    """
    return HARMFUL.sub(lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text)


def similar(word: str, known: Iterable[str], max_words: int = 2) -> list[str]:
    """Return the known words most like another one; few or none of them may be."""
    from difflib import get_close_matches

    return get_close_matches(word, [other for other in known if other != word], n=max_words)


def did_you_mean(words: Sequence[str]) -> str:
    """Return a sentence that suggests words, after a space; empty for none."""
    return f" Did you mean {' or '.join(words)}?" if words else ""


MINUS = "\N{MINUS SIGN}"
"""Sign of negative numbers in tables and pages."""

MAX_PLOT_NAME = 20
"""Number of characters of the name of a class in a plot."""


def plot_text(text: str) -> str:
    """Return a text for matplotlib, which would read what stands between dollars as a formula."""
    return printable(text).replace("$", r"\$")


def plot_name(name: str) -> str:
    """Return the begin of the name of a class for matplotlib."""
    return plot_text(name[:MAX_PLOT_NAME])


def name_some(names: Sequence[str], most: int = 3, separator: str = ", ") -> str:
    """Return the first of some names and the number of the others, as a text."""
    more = len(names) - most
    return separator.join([*map(printable, names[:most]), *[f"and {more} more"] * (more > 0)])


def pluralize(count: int, noun: str) -> str:
    """Return a number of things as a text, as in ``1 image`` and ``2,913 images``."""
    end = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{end}"


def format_size(count: float) -> str:
    """Return a number of bytes with its unit: ``19.3 GB``."""
    from tqdm import tqdm  # only where sizes are printed

    number = tqdm.format_sizeof(count)
    unit = number.lstrip("0123456789.-")
    return f"{number.removesuffix(unit)} {unit}B"


def format_duration(seconds: float) -> str:
    """Return hours and minutes, or minutes or seconds alone."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{seconds / 60:.1f} min"
    )


def fold(text: str, width: int) -> str:
    """Return a text with long lines broken between words.

    What follows the last gap of a line, such as the description of a command, goes on below itself
    if there is room for it.
    """
    lines = []
    for line in text.splitlines():
        ends = [gap.end() for gap in re.finditer(r" {2,}", line)]
        column = next((end for end in reversed(ends) if end <= width * 2 // 3), 2)
        lines += textwrap.wrap(
            line,
            width,
            subsequent_indent=" " * column,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def print_folded(text: str) -> None:
    """Print a text; in a terminal, its long lines are folded to the width of that."""
    print(fold(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text)


def line_width(most: int) -> int:
    """Return the number of characters of a line: ``most``, or those of a narrower terminal."""
    return min(most, shutil.get_terminal_size().columns) if sys.stdout.isatty() else most


class PrintableStream:
    """Text stream that escapes control characters, except those of lines and progress bars."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        moves_up = re.fullmatch(r"(\x1b\[A)+", text)  # to the bar above
        return self._stream.write(text if moves_up else printable(text, keep="\n\r\t"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
