"""The one exception that stands for a user's mistake."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """What was wrong, what is allowed and what to do, for a person to read.

    The scripts print its message without a traceback and exit with status 2.
    """


@contextmanager
def writing(setting: str) -> Iterator[None]:
    """Say which file cannot be written.

    Args:
        setting: what has named the place, such as ``output=here``.

    Raises:
        UserError: in place of the block's OSError.
    """
    try:
        yield
    except OSError as error:
        where = f"{error.filename} " if error.filename else ""
        what = error.strerror or error
        raise UserError(f"{setting}: {where}cannot be written ({what}).") from None
