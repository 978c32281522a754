"""What to say when a disk does not take what is written to it."""

import errno
import shutil
from pathlib import Path

from tqdm import tqdm

from deeplab.errors import UserError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""No space, a quota, a limit on the size of a file."""

AGAIN = "run this again; it goes on where it stopped"


def readable(count: int) -> str:
    """A number of bytes for a person: ``19.3GB``."""
    return tqdm.format_sizeof(count, "B")


def require(folder: Path, needed: int) -> None:
    """See to it that a folder has room for so many bytes more.

    Raises:
        UserError: it has not.
    """
    if shutil.disk_usage(folder).free < needed:
        raise UserError(f"{folder}: {_shortage(folder, needed)}. Make room there, then {AGAIN}.")


def refusal(error: OSError, folder: Path, needed: int | None = None) -> UserError:
    """What to raise after a failure to write below ``folder``, with the bytes still missing."""
    if error.errno in FULL:
        shortage = f"; {_shortage(folder, needed)}" if needed is not None else ""
        return UserError(
            f"{folder}: {error.strerror}{shortage}. Make room there (or raise the quota, or the "
            f"limit on file sizes that ulimit -f shows), then {AGAIN}."
        )
    return UserError(
        f"{error.filename or folder}: this cannot be written ({error.strerror or error}). "
        "Choose a folder that can."
    )


def _shortage(folder: Path, needed: int) -> str:
    free = shutil.disk_usage(folder).free
    return f"at least {readable(needed)} more are needed there and {readable(free)} are free"
