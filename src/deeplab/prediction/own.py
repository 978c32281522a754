"""Which files of a folder ``predict.py`` has written: it replaces those, and nobody else's."""

import json
from collections.abc import Sequence
from pathlib import Path

from deeplab.errors import UserError
from deeplab.files import write_json
from deeplab.prediction.inputs import ENDINGS, Source

RECORD = ".predictions.json"
"""The record of the results that a folder holds, below the folder."""


def own_results(output: Path) -> set[Path]:
    """The resolved paths of what was written into a folder."""
    return {(output / name).resolve() for name in _recorded(output)}


def claim(output: Path, sources: Sequence[Source]) -> None:
    """Write down what is going to be written.

    Raises:
        UserError: a file of somebody else lies at one of these places, or a result would have to
            be a file and a folder at once.
    """
    results = {source.result(ending): source for source in sources for ending in ENDINGS}
    folders = {folder for source in sources for folder in source.target.parents}
    own = own_results(output)
    for path, source in results.items():
        if path in folders or (_is_there(path) and path.resolve() not in own):
            what = "the folder of others" if path in folders else "there and was not made by this"
            raise UserError(
                f"output={output}: the result of {source.path} would be {path}, which is {what}. "
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
