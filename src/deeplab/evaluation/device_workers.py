"""Evaluation on several devices: a process for each, which predicts and scores some of the images.

The first process starts them, by pipes, and has no device of its own. They end when it does, even
if it is killed, and save what they have done when it is interrupted.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.evaluation.jobs import EvaluationJob
from deeplab.utils.cores import cpu_count
from deeplab.utils.errors import UserError
from deeplab.utils.interrupts import describe_signal
from deeplab.utils.own_code.trust import trust, trusted_names
from deeplab.utils.program import pythonpath

STOP = b"s"
"""What the first process sends to a process that must save and end."""


class Share(NamedTuple):
    """Images that one process evaluates."""

    config: EvaluateConfig
    jobs: Sequence[EvaluationJob]
    temporary: Path
    progress: Path
    """File of its progress."""
    number: int
    """Number of its device, from 0."""
    batches: Sequence[Sequence[int]]
    """Indices of the images of each batch."""
    done: Sequence[int]
    """Indices of images that are done already; they are predicted again in an unfinished batch."""
    processes: int = 1
    """Number of processes, which share the cores."""

    @property
    def num_threads(self) -> int:
        """Threads that score images."""
        return max(1, cpu_count() // self.processes)


class _Failure(NamedTuple):
    """Error of a process."""

    message: str
    is_user_error: bool


def evaluate_on_devices(shares: Sequence[Share], report: Callable[[int], None]) -> None:
    """Evaluate each share in a process of its own.

    Args:
        shares: the images of each device.
        report: receives numbers of predicted images.

    Raises:
        UserError: a process was ended, or found a mistake of the user.
        RuntimeError: a process failed.
    """
    messages: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    workers: list[_Worker] = []
    try:
        for share in shares:
            workers.append(_Worker(share._replace(processes=len(shares)), messages))
        running = len(workers)
        while running:
            number, message = messages.get()
            if isinstance(message, int):
                report(message)
            elif isinstance(message, _Failure):
                raise (UserError if message.is_user_error else RuntimeError)(message.message)
            else:
                workers[number].check_end()
                running -= 1
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.process.wait()


class _Worker:
    """Process that evaluates a share, seen from the first one.

    Args:
        share: its images.
        messages: receives its number with a number of images, a failure, or None at its end.
    """

    def __init__(self, share: Share, messages: "queue.SimpleQueue[tuple[int, Any]]") -> None:
        self.number, self.messages = share.number, messages
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "deeplab.evaluation.device_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": pythonpath()},
            process_group=0,  # Ctrl-C in a terminal is for the first process, which stops this one
        )
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: its status says why
            pickle.dump((sys.path, trusted_names()), self.process.stdin)  # of the user's modules
            pickle.dump(share, self.process.stdin)
            self.process.stdin.flush()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with suppress(EOFError, pickle.UnpicklingError):
            while True:
                self.messages.put((self.number, pickle.load(self.process.stdout)))
        self.messages.put((self.number, None))

    def check_end(self) -> None:
        """Check that the process, which sends no more messages, has ended as it should."""
        status = self.process.wait()
        if status < 0:
            raise UserError(
                f"trainer.devices: process {self.number} of this evaluation was ended by "
                f"{describe_signal(status)}. Run the same command to go on."
            )
        if status:
            raise RuntimeError(f"process {self.number} ended with status {status}")

    def stop(self) -> None:
        """Let the process save what it has done and end."""
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):
            self.process.stdin.write(STOP)
            self.process.stdin.flush()


def run_process(evaluate: Callable[[Share, Callable[[int], None]], None]) -> None:
    """Evaluate the share that the first process sends; the main function of a process.

    Args:
        evaluate: evaluates a share, and is given where it reports numbers of images.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no message
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  the first process has said it
    sys.path[:], trusted = pickle.load(sys.stdin.buffer)
    trust(trusted)
    share: Share = pickle.load(sys.stdin.buffer)

    def send(message: object) -> None:
        with suppress(BrokenPipeError):
            pickle.dump(message, messages)
            messages.flush()

    try:
        threading.Thread(target=_watch, daemon=True).start()
        evaluate(share, send)
    except KeyboardInterrupt:
        pass
    except UserError as error:
        send(_Failure(str(error), is_user_error=True))
    except Exception:
        send(_Failure(traceback.format_exc(), is_user_error=False))
    messages.close()
    os._exit(0)  # the watching thread waits for a pipe


def _watch() -> None:
    """Interrupt the main thread when it must stop; end the process after the first one's end."""
    if sys.stdin.buffer.read(1) == STOP:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        sys.stdin.buffer.read(1)
    os._exit(1)
