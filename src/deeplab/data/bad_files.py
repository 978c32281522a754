"""Errors of image and mask files, in the same words for training and for the doctor."""

from collections.abc import Callable
from typing import Literal, TypeVar

from deeplab.data.packed_file import ImagePath
from deeplab.utils.errors import UserError
from deeplab.utils.program import command

OnError = Literal["stop", "next", "blank"]
"""Reaction to a bad file: ``stop`` raises UserError; ``next`` uses the next good file instead;
``blank`` leaves the sample empty."""

T = TypeVar("T")


class BadFileError(UserError):
    """A file that training cannot use.

    Args:
        kind: a short name of the problem, by which the doctor groups its findings.
        path: the file.
        problem: the problem, as a sentence without its period.
        remedy: the fix, as one or more sentences.
    """

    def __init__(self, kind: str, path: ImagePath | str, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}. {remedy}")
        self.kind, self.path, self.problem, self.remedy = kind, str(path), problem, remedy

    def __reduce__(self) -> tuple[type["BadFileError"], tuple[str, str, str, str]]:
        """Support pickling, so that the error can cross process borders."""
        return BadFileError, (self.kind, self.path, self.problem, self.remedy)


def stopping_error(problem: BadFileError) -> UserError:
    """Return the error with which a program ends at the first bad file; there may be more."""
    return UserError(
        f"{problem} {command('prepare')} ... check=true lists all bad files, and "
        "data.on_error=skip leaves them out."
    )


def read_with_fallback(
    read: Callable[[int], T], index: int, count: int, on_error: OnError
) -> tuple[int, T | None, tuple[str, ...]]:
    """Read the sample of an index below ``count`` and handle bad files as ``on_error`` says.

    Returns:
        The index that was read, its sample (None for an empty one), and the bad files that were
        skipped.

    Raises:
        UserError: a file is bad and ``on_error`` is ``stop``, or no file is good.
    """
    skipped: list[str] = []
    while True:
        current = (index + len(skipped)) % count
        try:
            return current, read(current), tuple(skipped)
        except BadFileError as problem:
            if on_error == "stop" or len(skipped) + 1 == count:
                # DataLoader workers re-raise errors from their message alone, which a UserError
                # supports and a BadFileError does not.
                raise stopping_error(problem) from None
            skipped.append(problem.path)
        if on_error == "blank":
            return current, None, tuple(skipped)


def split_overlap_message(first: str, second: str) -> tuple[str, str]:
    """Return the problem and the fix of an image that is in two splits."""
    return (
        f"this image is in {first} and in {second}, so a score would include an image that was "
        "trained on",
        "Remove it from one of them.",
    )
