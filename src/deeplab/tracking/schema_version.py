"""The version of the records that runs keep: config.yaml, run.json, metrics.json, result.json.

It rises when a key of a record is renamed or changes its meaning. Records of another version are
refused, since a key that means something else would be read wrongly without a word.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeplab import __version__
from deeplab.utils.errors import UserError

SCHEMA_VERSION = 2

VERSION_STAMP = {"schema_version": SCHEMA_VERSION, "deeplab_version": __version__}
"""The keys that every record carries."""

FIRST_VERSION = "0.1"
"""The deeplab version whose records carry no stamp."""


def check_schema_version(record: Mapping[str, Any], path: Path) -> None:
    """Check that this version wrote the record at ``path``, or one with the same schema.

    Raises:
        UserError: another version did; the message names it.
    """
    found = record.get("schema_version", 1)
    if found != SCHEMA_VERSION:
        writer = record.get("deeplab_version", FIRST_VERSION)
        raise UserError(
            f"{path}: schema_version={found}: deeplab {writer} wrote this run, and deeplab "
            f"{__version__} reads schema_version={SCHEMA_VERSION}. Use deeplab {writer} for it, or "
            "train it again."
        )
