"""Version of the records that runs keep: config.yaml, run.json, metrics.json, result.json.

It rises when a key of a record is renamed or changes its meaning. Records of another version are
rejected, because a key with another meaning would be misread silently.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from deeplab import __version__
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_json
from deeplab.utils.reading import read_values, report_damage

T = TypeVar("T")

SCHEMA_VERSION = 3

VERSION_STAMP = {"schema_version": SCHEMA_VERSION, "deeplab_version": __version__}
"""Keys that every record carries."""

FIRST_VERSION = "0.1"
"""deeplab version whose records have no stamp."""


def read_versioned(path: Path, build: Callable[[dict[str, Any]], T], hint: str) -> T:
    """Return a record of this version as an object.

    Args:
        path: the file, JSON or YAML.
        build: makes the object from the record's values, without the stamp.
        hint: what to do if the file is damaged.

    Raises:
        UserError: it is damaged, or of another schema version.
    """
    values = read_values(path, hint)
    check_schema_version(values, path)
    with report_damage(path, hint):
        return build({key: value for key, value in values.items() if key not in VERSION_STAMP})


def check_schema_version(record: Mapping[str, Any], path: Path) -> None:
    """Check that the record at ``path`` has the schema of this version.

    Raises:
        UserError: it has another schema; the message names the version that wrote it.
    """
    version = record.get("schema_version", 1)
    if version != SCHEMA_VERSION:
        writer = record.get("deeplab_version", FIRST_VERSION)
        raise UserError(
            f"{path}: schema_version={version}: deeplab {writer} wrote this run, but deeplab "
            f"{__version__} reads schema_version={SCHEMA_VERSION} only. Use deeplab {writer} for "
            "it, or train it again."
        )


class Record(BaseModel):
    """Base of records and their parts. Fields of later versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class RecordFile(Record):
    """Record that is a JSON file, in which the versions of schema and program come first."""

    @classmethod
    def read(cls, path: Path, hint: str) -> Self:
        """Read a record; arguments and errors are those of ``read_versioned``."""
        return read_versioned(path, lambda values: cls(**values), hint)

    def write(self, path: Path) -> None:
        """Write the fields that have been set."""
        write_json(path, {**VERSION_STAMP, **self.model_dump(exclude_unset=True)})
