"""Hydra entry point of all scripts: the project's ``conf/`` and readable errors.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import os
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from errno import EACCES, EIO, EMFILE, ENFILE, ENODEV, EPERM, EROFS, ESTALE
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from deeplab.config.implied_overrides import implied_overrides
from deeplab.config.messages import format_hydra_error
from deeplab.config.overrides import to_hydra_override
from deeplab.utils.errors import (
    WORKER_KILLED,
    UserError,
    exit_with_error,
    exit_without_output,
    format_message,
    link_loop_error,
)
from deeplab.utils.file_lock import LockedError
from deeplab.utils.free_memory import is_out_of_memory
from deeplab.utils.interrupts import (
    end_at_signals,
    exit_interrupted,
    handle_signals,
    is_interrupted,
)
from deeplab.utils.program import CONF, RESUMABLE
from deeplab.utils.text import print_folded
from deeplab.utils.write_errors import full_disk_error, write_error

MAX_OVERRIDES = 200
"""Number of characters of a job's overrides in the message of its error."""

TAKE_RUN = ("evaluate", "predict", "demo", "export", "gallery")
"""Scripts to which a trained network is given: ``run=``, also written ``weights=``."""

MACHINE_ERRNOS = {EACCES, EIO, EMFILE, ENFILE, ENODEV, EPERM, EROFS, ESTALE}
"""Error numbers that no file of the program can cause: permissions, disks, limits."""


def run_script(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Compose ``conf/<config_name>.yaml`` from the command line and run ``task`` with it.

    A user's mistake ends the script with a message and status 2, without a traceback; any other
    error keeps its traceback. In a sweep a job that fails prints its error at once, and the other
    jobs continue.
    """
    try:
        _run_script(task, config_name)
        end_at_signals()
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt) and not is_interrupted():
            raise
        resumes = config_name in RESUMABLE
        exit_interrupted("Interrupted." + " Run the same command to go on." * resumes)


def _run_script(task: Callable[[DictConfig], None], config_name: str) -> None:
    if "--keys" in sys.argv:
        from deeplab.config.reference import print_keys

        print_keys(" ".join(sys.argv[sys.argv.index("--keys") + 1 :]), config_name)
        return
    if {"--help", "-h"} & {*sys.argv}:
        sys.argv[1:] = _help_arguments(sys.argv[1:])
    handle_signals()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let Hydra pass its exceptions on to us
    if not sys.stderr.isatty():
        os.environ.setdefault(
            "TQDM_MININTERVAL", "10"
        )  # of the bars of libraries: a file keeps each state
    if config_name in TAKE_RUN:
        sys.argv[1:] = [re.sub("^weights=", "run=", argument) for argument in sys.argv[1:]]
    sys.argv += implied_overrides(config_name, sys.argv[1:])
    sys.argv[1:] = map(to_hydra_override, sys.argv[1:])
    if sys.argv[1:] != ["--help"]:
        from deeplab.config.command_line import check_arguments

        sys.argv[1:] = check_arguments(sys.argv[1:], config_name)
    # Hydra composes the config once only to see whether it sets a mode, which it may not here
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)

    started = False

    def job(config: DictConfig) -> Any:
        nonlocal started
        started = True
        try:
            return task(config)  # sweepers that optimize a score take it
        except Exception as error:
            exit_without_output(error)
            if not isinstance(error, UserError):
                error = _explain(error)
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise _report_job_error(error) from None
            if isinstance(error, UserError):
                _exit(str(error))  # exit here, because Hydra would add its own message
            if isinstance(error, OmegaConfBaseException):  # an interpolation that fails
                _exit(format_hydra_error(error))
            raise

    try:
        with _folded_help() if sys.argv[1:] == ["--help"] else nullcontext():
            main(job)()
    except UserError as error:
        _exit(str(error))
    except JobFailedError as error:
        _exit(str(error), status=1)
    except (HydraException, OmegaConfBaseException, ValueError, OSError, RecursionError) as error:
        exit_without_output(error)
        if started:
            raise
        _exit(format_hydra_error(error))  # composing failed


@contextmanager
def _folded_help() -> Iterator[None]:
    """Print the help that Hydra prints in this context, and then exits, folded."""
    text = StringIO()
    try:
        with redirect_stdout(text):
            yield
    finally:
        print_folded(text.getvalue().rstrip())


def _help_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without those of which ``--help`` shows nothing, right or wrong."""
    others = {"--help", "-h", "--multirun", "-m"}
    overrides = {a for a in arguments if "=" in a and not a.startswith("-")}
    return ["--help", *(a for a in arguments if a not in others | overrides)]


def _explain(error: Exception) -> Exception:
    """Return a UserError for what is no fault of the program, else the error itself."""
    if isinstance(error, RuntimeError) and (loop := link_loop_error(error)):
        return loop
    if full := full_disk_error(error):
        return write_error(full, Path(full.filename) if full.filename else None)
    if isinstance(error, OSError) and error.errno in MACHINE_ERRNOS:
        return UserError(
            f"{error.filename or 'a file'}: {error.strerror}. Check its permissions, its disk and "
            "the limits of this process (ulimit -a)."
        )
    if re.search(r"DataLoader worker \(pid.*(killed|exited)", str(error)):
        return UserError(WORKER_KILLED)
    if str(error).startswith("Too many open files"):  # PyTorch's loader, in place of the OSError
        return UserError(
            "ulimit -n: this process may not open as many files as it needs. Raise it, or use "
            "fewer workers (trainer.num_workers)."
        )
    if is_out_of_memory(error):
        return UserError(
            f"memory: this machine has too little for it ({_first_line(error)}). Use smaller "
            "batches (stage.batch_size, data.eval_batch_size) or images (data.crop_size, "
            "window_size)."
        )
    return error


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rpartition("] ")[2].rstrip(".")


def in_sweep() -> bool:
    """Return True in a job of a sweep, whose output is short."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def is_later_job() -> bool:
    """Return True in a job that does not repeat what the first job of its sweep has printed."""
    return in_sweep() and HydraConfig.get().job.num > 0


class JobFailedError(Exception):
    """An error in a job of a sweep that is not the user's mistake and is already printed."""


def _report_job_error(error: Exception) -> Exception:
    """Print the error of a sweep's job and return the exception to raise for it.

    Jobs may be collected in another process, and not every exception can be sent there; hence
    only UserError and JobFailedError are raised.
    """
    job = HydraConfig.get()
    text = format_message(_without_traceback(str(error)))
    explained = isinstance(error, UserError | JobFailedError)
    if not explained:
        text = "\n" + "".join(traceback.format_exception(error)).rstrip()
    overrides = textwrap.shorten(" ".join(job.overrides.task), MAX_OVERRIDES, placeholder=" ...")
    where = f"Error in job {job.job.num + 1} ({format_message(overrides)})"
    if isinstance(error, LockedError):  # another sweep works on it, which is no failure
        where = f"Job {job.job.num + 1}"
    print(f"{where}: {text}", file=sys.stderr, flush=True)
    if explained:
        return error
    return JobFailedError(f"{type(error).__name__}: {error}")


def _exit(message: str, status: int = 2) -> NoReturn:
    if is_interrupted():  # the error is its consequence
        raise KeyboardInterrupt
    exit_with_error(_without_traceback(message), status)


def _without_traceback(message: str) -> str:
    if "Original Traceback" in message:  # PyTorch adds a loading worker's to the message
        return message.rpartition("UserError: ")[2].strip()
    return message
