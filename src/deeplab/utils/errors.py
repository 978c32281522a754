"""The exception for mistakes of the user."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from deeplab.utils.text import PrintableStream, printable

MAX_WORD = 300
"""Longest word of a message that is shown in full, such as a value or a path."""

MAX_LINE = 1200
"""Longest line of a message that is shown in full."""


WORKER_KILLED = (
    "One of the worker processes was killed, probably because memory ran out. Run this again with "
    "fewer workers (num_workers)."
)
"""Message for a worker process of a pool or a loader that the system has ended."""


class UserError(Exception):
    """A mistake of the user; the message says what is wrong, what is allowed and what to do.

    The scripts print its message without a traceback and exit with status 2.
    """


@contextmanager
def argument_names(arguments: Mapping[str, str]) -> Iterator[None]:
    """Let the errors of a function name its arguments, where they name the keys behind them.

    Args:
        arguments: the arguments by keys; a key that ends in a dot stands for all of its group.
    """
    try:
        yield
    except UserError as error:
        text = str(error)
        for key, argument in arguments.items():
            name = rf"(?<![\w./]){re.escape(key)}"
            if "." not in key:  # it may be a word of the message, too
                name = rf"{name}(?=[=:])|(?<=Set ){key}\b"
            text = re.sub(rf"(?:{name})([\w.]*)=null\b", rf"{argument}\1=None", text)
            text = re.sub(name, argument, text)
        error.args = (text,)
        raise


def format_message(message: str) -> str:
    """Return a message for the terminal: long values shortened, control characters escaped."""
    lines = []
    for line in printable(message, keep="\n").split("\n"):
        words = re.sub(rf"\S{{{MAX_WORD},}}", lambda match: _shorten(match[0], MAX_WORD), line)
        lines.append(_shorten(words, MAX_LINE))
    return "\n".join(lines)


def _shorten(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    part = length // 2 - 20
    return f"{text[:part]}[... {len(text) - 2 * part:,} characters ...]{text[-part:]}"


def link_loop_error(error: RuntimeError) -> UserError | None:
    """Return the message for a link that leads to itself, if that is the error."""
    loop = re.fullmatch("Symlink loop from '(.*)'", str(error))  # Path.resolve
    return UserError(f"{loop[1]}: this link leads to itself. Remove it.") if loop else None


@contextmanager
def script_errors() -> Iterator[None]:
    """End a script quietly if the reader of its output has ended, as ``head`` does.

    A UserError ends it with its message and status 2, without a traceback. Control characters in
    what it prints, such as those of names, are escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files may not be UTF-8
    if sys.stdout is not None:
        sys.stdout = PrintableStream(sys.stdout)
    try:
        try:
            yield
        except UserError as error:
            exit_with_error(str(error))
        except RuntimeError as error:
            if loop := link_loop_error(error):
                exit_with_error(str(loop))
            raise
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        exit_without_output(error)
        raise


def exit_without_output(error: BaseException) -> None:
    """Exit if an error is that of standard output, which cannot be written any more."""
    if not isinstance(error, OSError) or error.errno is None:  # Hydra's have none
        return
    try:
        print(flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left goes there
        if isinstance(error, BrokenPipeError):
            sys.exit(141)  # as a program that SIGPIPE ends
        exit_with_error(f"standard output: cannot be written ({error.strerror}).")


def exit_with_error(message: str, status: int = 2) -> NoReturn:
    """Print a message to standard error and exit."""
    print(f"Error: {format_message(message)}", file=sys.stderr)
    sys.exit(status)
