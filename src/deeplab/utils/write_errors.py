"""Errors of writing: full disks, quotas, folders and files that are not writable."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeplab.utils.disk_space import RESUMES, RUN_AGAIN, describe_shortage
from deeplab.utils.errors import UserError
from deeplab.utils.program import RESUMABLE, script_name

FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Error numbers of no space, a quota, and a limit on the file size."""


@contextmanager
def report_write_errors(setting: str) -> Iterator[None]:
    """Turn an OSError of the block into a UserError that names the setting and the file.

    Args:
        setting: the setting that chose the path, such as ``output=here``.

    Raises:
        UserError: a file cannot be written.
    """
    try:
        yield
    except BrokenPipeError:  # of what is printed
        raise
    except OSError as error:
        path = f"{error.filename} " if error.filename else ""
        reason = error.strerror or error
        raise UserError(
            f"{setting}: {path}cannot be written ({reason}). Choose a writable path."
        ) from None


def write_error(error: OSError, folder: Path | None, num_bytes: int | None = None) -> UserError:
    """Return the error to raise after a failed write below ``folder``.

    Args:
        error: the failure.
        folder: the folder that was written to; None if it is not known.
        num_bytes: the bytes that are still to be written, if known, as of a download.
    """
    if error.errno in FULL_ERRNOS:
        shortage = (
            f"; {describe_shortage(folder, num_bytes)}" if folder and num_bytes is not None else ""
        )
        resumes = num_bytes is not None or script_name() in RESUMABLE
        where = folder or "A disk, perhaps that of temporary files or of /dev/shm"
        return UserError(
            f"{where}: {error.strerror}{shortage}. Free some space there (or raise the quota, or "
            f"the limit on file sizes that ulimit -f shows), then {RUN_AGAIN}{RESUMES * resumes}."
        )
    return UserError(
        f"{error.filename or folder or 'a file'}: cannot be written ({error.strerror or error}). "
        "Choose a writable folder."
    )


def full_disk_error(error: BaseException | None) -> OSError | None:
    """Return the error of a full disk among the causes of an error, or None.

    Writers of zip files and images raise others on top of it when they close the file.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL_ERRNOS:
            return error
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def report_full_disk(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk in the block into a UserError that names the folder."""
    try:
        yield
    except UserError:  # the block knows more about it
        raise
    except Exception as error:
        full = full_disk_error(error)
        if full is None:
            raise
        raise write_error(full, folder) from None
