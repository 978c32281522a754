"""Ends of scripts by signals, and of the processes that they start.

A run on several devices starts the script again for each further device. Such a child is told by an
environment variable whose child it is.
"""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import NoReturn

PARENT = "DEEPLAB_PARENT_PROCESS"
"""Environment variable with the number of the process that has started this one as its child."""

STOP_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    *([] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]),
)
"""Signals that stop a script: Ctrl-C, that of job schedulers, and, except under ``nohup``, that of
a terminal that is closed."""

_received: list[int] = []
"""Stop signals that this process got."""

STATUS = 130
"""Exit status after one of them."""

POLL_INTERVAL = 0.25
"""Seconds between two checks whether the parent is alive."""


def is_running(process: int) -> bool:
    """Return True if there is a process of this number on this machine, of any user."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def is_child() -> bool:
    """Return True if another process of the same run has started this one."""
    return PARENT in os.environ


def handle_signals() -> None:
    """Let all stop signals end this process as Ctrl-C does, with its temporary files removed.

    A child ignores them, since its parent gets them too and ends it. It never outlives its parent.
    """
    _received.clear()
    if parent := os.environ.get(PARENT):
        _end_with(int(parent))
    _set_handlers(signal.SIG_IGN if parent else _interrupt)
    sys.unraisablehook = _interrupt_again


def _set_handlers(handler: signal.Handlers | Callable[[int, FrameType | None], NoReturn]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    _received.append(number)
    raise KeyboardInterrupt


def _interrupt_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Repeat a signal that arrived in a destructor or a callback, where Python drops its error."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt) and _received:
        _thread.start_new_thread(_send_later, (_received[-1],))  # takes no lock that is held here
    else:
        sys.__unraisablehook__(unraisable)


def _send_later(number: int) -> None:
    time.sleep(0.01)  # until the callback has ended
    os.kill(os.getpid(), number)


@contextmanager
def handling_stop_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the stop signals in the block, then as before.

    Only the main thread can; in another one, where signals never arrive, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous or signal.SIG_DFL)


def end_at_signals() -> None:
    """Let stop signals end this process at once and in success: its work is done.

    In the callbacks at the end of Python they would be tracebacks.
    """
    if sys.stdout:
        sys.stdout.flush()
    _set_handlers(lambda *_: os._exit(0))


def is_interrupted() -> bool:
    """Return True after a stop signal; libraries may have replaced its KeyboardInterrupt."""
    return bool(_received)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Let stop signals take effect after the block only."""
    received: list[int] = []
    try:
        with handling_stop_signals(lambda number, _: received.append(number)):
            yield
    finally:
        for first in received[:1]:
            signal.raise_signal(first)


def exit_interrupted(message: str) -> NoReturn:
    """Exit after a stop signal; a child does so silently, and as if it had succeeded."""
    _set_handlers(signal.SIG_IGN)  # another one would interrupt the exit
    if is_child():
        sys.exit(0)
    with suppress(OSError):  # the terminal is closed
        print(f"\n{message}", file=sys.stderr, flush=True)
    sys.exit(STATUS)


def describe_signal(status: int) -> str:
    """Return the signal that has ended a process of this negative status, and its likely reason."""
    name = signal.Signals(-status).name
    return f"{name}, probably because memory ran out" if status == -signal.SIGKILL else name


def leave_signals_to_parent(*_: object) -> None:
    """Let this worker process outlive stop signals, which a terminal or a scheduler sends to all.

    Its parent finishes what it has begun, and then ends its workers; a SIGTERM of it counts. Once
    the parent is gone, lost connections to it are not printed.
    """
    _set_handlers(signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    parent = os.getppid()

    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if os.getppid() == parent:
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = report

    def watch() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def children_end_with_this_process() -> Iterator[None]:
    """Let the children that are started in the block end when this process ends, even if killed."""
    if is_child():
        yield
        return
    os.environ[PARENT] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[PARENT]


def _end_with(parent: int) -> None:
    """End this process as soon as its parent has ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_INTERVAL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
