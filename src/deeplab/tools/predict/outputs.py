"""Which files ``predict.py`` has written: it replaces those and takes none of them for pictures."""

import json
from collections.abc import Mapping
from pathlib import Path

from deeplab.utils.errors import UserError
from deeplab.utils.files import write_json

RECORD = ".predictions.json"
"""The record of the results that a folder holds, below the folder."""


def own_results(output: Path) -> set[Path]:
    """The resolved paths of what was written into a folder."""
    return {(output / name).resolve() for name in _recorded(output)}


class Results:
    """Tells results of any earlier time by the records of the folders that they lie in."""

    def __init__(self) -> None:
        self._of: dict[Path, set[Path]] = {}

    def has(self, file: Path) -> bool:
        """Whether this is a result, or lies in a folder that is one."""
        path = file.resolve()
        for folder in path.parents:
            if folder not in self._of:
                self._of[folder] = own_results(folder)
            if not self._of[folder].isdisjoint((path, *path.parents)):
                return True
        return False


def claim(output: Path, results: Mapping[Path, Path]) -> None:
    """Write down what is going to be written.

    Args:
        output: the folder of the results.
        results: files and folders below it, each with the input that it is made of.

    Raises:
        UserError: a file of somebody else lies at one of these places, or a result would have to
            be a file and a folder at once.
    """
    folders = {folder for path in results for folder in path.parents}
    own = own_results(output)
    for path, source in results.items():
        if path in folders or (_is_there(path) and path.resolve() not in own):
            what = "is the folder of others" if path in folders else "predict.py has not made"
            raise UserError(
                f"output={output}: the result of {source} would be {path}, which {what}. "
                "Name another folder."
            )
    names = {path.relative_to(output).as_posix() for path in results}
    write_json(output / RECORD, {"written": sorted(names | _recorded(output))})


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # its name is too long
        return False


def _recorded(output: Path) -> set[str]:
    try:
        return set(json.loads((output / RECORD).read_text())["written"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()
