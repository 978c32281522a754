"""Record of the files that ``deeplab predict`` has written.

It replaces only these files, and never takes one of them as an input image.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from deeplab.utils.errors import UserError
from deeplab.utils.files import write_json
from deeplab.utils.program import command
from deeplab.utils.reading import exists, read_typed

RECORD = ".predictions.json"
"""Name of the record in an output folder; it lists the outputs below the folder."""


class Outputs(BaseModel):
    """Content of the record."""

    written: list[str]


def recorded_outputs(output: Path) -> set[Path]:
    """Return the resolved paths of all outputs recorded in a folder."""
    return {(output / name).resolve() for name in _read_record(output)}


class OutputRecords:
    """Records of output folders, each read once and only if a file below it is checked."""

    def __init__(self) -> None:
        self._outputs: dict[Path, set[Path]] = {}

    def contains(self, file: Path) -> bool:
        """Return True if a file is a recorded output or lies in a folder that is one."""
        path = file.resolve()
        for folder in path.parents:
            if folder not in self._outputs:
                self._outputs[folder] = recorded_outputs(folder)
            if not self._outputs[folder].isdisjoint((path, *path.parents)):
                return True
        return False


def reserve_outputs(output: Path, sources: Mapping[Path, Path]) -> None:
    """Check that all outputs may be written, and add them to the record of the folder.

    Args:
        output: the output folder.
        sources: files and folders to write below it, each with the input that it is made from.

    Raises:
        UserError: a file that ``deeplab predict`` did not write has the path of an output, or an
            output would have to be a file and a folder at once.
    """
    folders = {folder for path in sources for folder in path.parents}
    replaceable = recorded_outputs(output)
    for path, source in sources.items():
        if path in folders or (_exists(path) and path.resolve() not in replaceable):
            problem = (
                "must be a folder for other results"
                if path in folders
                else f"exists and was not written by {command('predict')}"
            )
            raise UserError(
                f"output={output}: the result of {source} would be {path}, which {problem}. Set "
                "output to another folder."
            )
    names = {path.relative_to(output).as_posix() for path in sources}
    write_json(output / RECORD, {"written": sorted(names | _read_record(output))})


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the name is too long
        return False


def _read_record(output: Path) -> set[str]:
    record = output / RECORD
    if not exists(record):
        return set()
    hint = "Delete it, or choose another output."
    return {str(Path(name)) for name in read_typed(record, Outputs, hint).written}
