"""What can be wrong with a file, in the words that training and the doctor share."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from deeplab.utils.errors import UserError

Severity = Literal["error", "warning"]

OnError = Literal["stop", "next", "blank"]
"""What becomes of a bad file: ``stop`` raises UserError; ``next`` takes the next one that is good
in its place; ``blank`` leaves its place empty."""

T = TypeVar("T")


class BadFileError(UserError):
    """A file that training cannot use.

    Args:
        kind: a word for it, by which the doctor groups.
        path: the file.
        problem: what is wrong, as a sentence without its full stop.
        remedy: what to do, as sentences.
    """

    def __init__(self, kind: str, path: Path | str, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}. {remedy}")
        self.kind, self.path, self.problem, self.remedy = kind, str(path), problem, remedy

    def __reduce__(self) -> tuple[type["BadFileError"], tuple[str, str, str, str]]:
        return BadFileError, (self.kind, self.path, self.problem, self.remedy)  # between processes


def first_good(
    read: Callable[[int], T], index: int, count: int, on_error: OnError
) -> tuple[int, T | None, tuple[str, ...]]:
    """What ``read`` gives for an index below ``count``, or what ``on_error`` puts in its place.

    Returns:
        The index that was read, what it gave (None for an empty place), and the bad files that were
        passed over.

    Raises:
        UserError: a bad file, if ``on_error`` says so or since no file is good.
    """
    skipped: list[str] = []
    while True:
        chosen = (index + len(skipped)) % count
        try:
            return chosen, read(chosen), tuple(skipped)
        except BadFileError as problem:
            if on_error == "stop" or len(skipped) + 1 == count:
                # of a kind that a loading process can pass on: made of its message alone
                raise UserError(str(problem)) from None
            skipped.append(problem.path)
        if on_error == "blank":
            return chosen, None, tuple(skipped)


def in_two_splits(first: str, second: str) -> tuple[str, str]:
    """What to say of an image that is in both, and what to do."""
    return (
        f"this id is in {first} and in {second}: its score would be that of an image that was "
        "trained on",
        "Take it out of one of them.",
    )
