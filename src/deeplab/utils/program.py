"""The program as it was started, and the command lines that start it again.

``deeplab train``, ``python -m deeplab train`` and ``python src/train.py`` are the same program.
"""

import atexit
import gc
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_stack

from deeplab.utils.cores import start_measuring

PROGRAM = "DEEPLAB_PROGRAM"
"""Environment variable with the command of a script, ``{}`` for its name; children inherit it."""

SCRIPT = "DEEPLAB_SCRIPT"
"""Environment variable with the name of the script, which a launcher's workers inherit."""

PACKAGE = Path(__file__).resolve().parents[1]
"""Folder of the package."""

CHECKOUT = None if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1]
"""Folder of the checkout that has the package; None for an installed copy."""

CONF = (CHECKOUT or PACKAGE) / "conf"
"""The project's config files: in the package of a wheel, in a checkout at its top."""

RESUMABLE = ("train", "evaluate", "prepare")
"""Scripts that go on where they were interrupted."""

_arguments: list[str] = []
"""Arguments of the script as they were typed."""


def start_program(script: str) -> None:
    """Remember how this program was started, its script and its arguments."""
    os.environ.setdefault(PROGRAM, _typed_program())
    os.environ[SCRIPT] = script
    start_measuring()  # from here on, while modules are imported
    _arguments[:] = sys.argv[1:]


@contextmanager
def short_exit() -> Iterator[None]:
    """Let this process end after the block without taking all of its objects apart.

    With PyTorch and Lightning loaded that takes Python half a second or more, after the last line
    is printed. In a run on several devices it can also end by SIGABRT: a thread of gloo that still
    has to release a tensor cannot get Python's lock any more.

    Threads are joined, callbacks run and files are written as at any end. The end is the usual one
    after an exception, and in a program that goes on after the block or looks at it, as a profiler.
    """
    statuses: list[int] = []
    if not _is_started_alone():
        yield
        return

    def exit_now() -> None:
        if statuses and _flush_files():
            os._exit(statuses[0])

    atexit.register(exit_now)  # it runs last: the callbacks of the block are registered later
    try:
        yield
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            statuses.append(error.code or 0)
        raise
    statuses.append(0)


def _is_started_alone() -> bool:
    """Return True if one of the package's own files was started, which does nothing else."""
    files = [frame.f_code.co_filename for frame, _ in walk_stack(None)]
    first = next((file for file in reversed(files) if file != "<frozen runpy>"), "")
    path = Path(first).resolve()
    if not path.is_file():  # a program that was typed
        return False
    own_files = path.stem == "deeplab" or path == PACKAGE / "__main__.py"
    return own_files or (CHECKOUT is not None and path.parent == CHECKOUT / "src")


def _flush_files() -> bool:
    """Write what open files have in their buffers, as Python's end does; return True if it worked.

    The files may be those of a user's own code, which has not closed them.
    """
    kinds = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    files = [file for file in gc.get_objects() if type(file) in kinds and not file.closed]
    files.sort(key=lambda file: kinds.index(type(file)))  # text first, which goes into the others
    try:
        for file in (sys.stdout, sys.stderr, *files):
            if file:
                file.flush()
    except (OSError, ValueError):
        return False
    return True


def _typed_program() -> str:
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return "python -m deeplab {}"
    if path.suffix == ".py":
        folder = "" if path == Path(path.name) else f"{shlex.quote(str(path.parent))}/"
        return f"python {folder}{{}}.py"
    return "deeplab {}"


def script_name() -> str | None:
    """Return the name of the script that runs; None in another program, such as a notebook."""
    return os.environ.get(SCRIPT) or None


def command(script: str) -> str:
    """Return the command of a script as the user types it, such as ``deeplab train``."""
    return os.environ.get(PROGRAM, "deeplab {}").replace("{}", script)


def as_typed(text: str) -> str:
    """Return a text with the commands in it, such as ``deeplab train``, as the user types them."""
    return re.sub(r"\bdeeplab ([a-z]+)\b", lambda match: command(match[1]), text)


def typed_command() -> str:
    """Return the command line of this process or, in a launcher's worker, that of its sweep."""
    script = script_name()
    start = command(script) if script else f"python {sys.argv[0]}"
    return f"{start} {shlex.join(typed_arguments())}".rstrip()


def typed_arguments() -> list[str]:
    """Return the arguments of the script as they were typed."""
    return _arguments or sys.argv[1:]


def child_command(*arguments: str) -> list[str]:
    """Return the command line that runs this very package, from any folder.

    Its environment needs ``pythonpath``.

    Args:
        arguments: a script and its arguments; by default those of this process.
    """
    script = script_name() or "train"
    return [sys.executable, "-P", "-m", "deeplab", *(arguments or [script, *_arguments])]


def pythonpath() -> str:
    """Return PYTHONPATH for a child, which finds this very package.

    One in ``site-packages`` is found without it, which would put all others of that folder before
    the standard library.
    """
    folder = PACKAGE.parent
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if folder.name not in ("site-packages", "dist-packages"):
        paths = [str(folder), *(path for path in paths if path != str(folder))]
    return os.pathsep.join(paths)
