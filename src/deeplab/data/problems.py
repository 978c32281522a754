"""What can be wrong with a file, in the words that training and the doctor share."""

from pathlib import Path
from typing import Literal

from deeplab.errors import UserError

Severity = Literal["error", "warning"]


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


def in_two_splits(first: str, second: str) -> tuple[str, str]:
    """What to say of an image that is in both, and what to do."""
    return (
        f"this id is in {first} and in {second}: its score would be that of an image that was "
        "trained on",
        "Take it out of one of them.",
    )
