"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """What was wrong, what is allowed and what to do, for a person to read.

    The scripts print its message without a traceback and exit with status 2.
    """
