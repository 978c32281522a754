"""The exception for splits that cannot be used."""

from deeplab.utils.errors import UserError


class SplitError(UserError):
    """A split that does not exist or cannot be used.

    Args:
        split: name of the split.
        problem: what is wrong and what to do, as sentences.
    """

    def __init__(self, split: str, problem: str) -> None:
        super().__init__(f"split {split!r}: {problem}")
        self.split, self.problem = split, problem

    def __reduce__(self) -> tuple[type[UserError], tuple[str]]:
        """Support pickling, so that the message can cross process borders."""
        return UserError, (str(self),)


def split_problem(error: UserError, split: str) -> str:
    """Return the message of an error, without the name of the split if it is this one."""
    if isinstance(error, SplitError) and error.split == split:
        return error.problem
    return str(error)
