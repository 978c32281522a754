"""The program as it was started, and the command lines that start it again.

``deeplab train``, ``python -m deeplab train`` and ``python src/train.py`` are the same program.
"""

import os
import shlex
import sys
from pathlib import Path

PROGRAM = "DEEPLAB_PROGRAM"
"""Environment variable with the command of a script, ``{}`` for its name; children inherit it."""

PACKAGE = Path(__file__).resolve().parents[1]
"""Folder of the package."""

_typed: list[str] = []
"""Script that this process runs, and its arguments; empty in another program."""


def start_program(*script: str) -> None:
    """Remember how this program was started: its script, if it has one, and its arguments."""
    os.environ.setdefault(PROGRAM, _typed_program())
    _typed[:] = [*script, *sys.argv[1:]]


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
    return _typed[0] if _typed else None


def command(script: str) -> str:
    """Return the command of a script as the user types it, such as ``deeplab train``."""
    return os.environ.get(PROGRAM, "deeplab {}").replace("{}", script)


def typed_command() -> str:
    """Return the whole command line of this process, as it was typed."""
    if not _typed:
        return " ".join(["python", *sys.argv])
    return " ".join([command(_typed[0]), *_typed[1:]])


def child_command(*arguments: str) -> list[str]:
    """Return the command line that runs this very package, from any folder.

    Its environment needs ``pythonpath``.

    Args:
        arguments: a script and its arguments; by default those of this process.
    """
    return [sys.executable, "-P", "-m", "deeplab", *(arguments or _typed)]


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
