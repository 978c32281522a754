"""The exception for mistakes of the user."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake of the user; the message says what is wrong, what is allowed and what to do.

    The scripts print its message without a traceback and exit with status 2.
    """


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
    except OSError as error:
        path = f"{error.filename} " if error.filename else ""
        reason = error.strerror or error
        raise UserError(
            f"{setting}: {path}cannot be written ({reason}). Choose a writable path."
        ) from None
