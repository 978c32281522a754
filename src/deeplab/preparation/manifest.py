"""Progress of the preparation of a folder.

``manifest.json`` lists the completed parts. The file ``.preparing`` marks the folder as incomplete:
nothing reads it then (``deeplab.data.layouts.base.check_complete``).
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from deeplab.data.layouts.base import PREPARING
from deeplab.utils.file_lock import locked
from deeplab.utils.files import remove_leftovers, write_json
from deeplab.utils.write_errors import write_error

LOCK = ".lock"
MANIFEST = "manifest.json"


class Manifest(NamedTuple):
    """The completed parts and splits of a folder."""

    parts: frozenset[str]
    splits: dict[str, int]  # number of images


def read_manifest(root: Path) -> Manifest:
    """Return the completed parts and splits; an empty manifest if there is none."""
    try:
        content = json.loads((root / MANIFEST).read_text())
        return Manifest(frozenset(content["parts"]), dict(content["splits"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Manifest(frozenset(), {})


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Write the completed parts and splits, after all other files."""
    os.sync()  # they were not flushed one by one
    content = {"parts": sorted(manifest.parts), "splits": manifest.splits}
    write_json(root / MANIFEST, content)


def is_complete(root: Path) -> bool:
    """Return True if the folder has a prepared data set and no unfinished preparation."""
    return (root / MANIFEST).is_file() and not (root / PREPARING).exists()


def mark_incomplete(root: Path) -> None:
    """Mark the folder as incomplete."""
    (root / PREPARING).touch()


def mark_complete(root: Path) -> None:
    """Remove the mark of an incomplete folder."""
    (root / PREPARING).unlink()


@contextmanager
def locked_for_preparation(root: Path) -> Iterator[None]:
    """Lock the folder for this process and mark it as incomplete unless it is complete.

    Raises:
        UserError: another process prepares the folder, or it cannot be written.
    """
    message = f"data.root={root}: another process is preparing it. Wait until it has finished."
    with ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(root / LOCK, message, wait=False))
            if not is_complete(root):
                mark_incomplete(root)
            remove_temporary_files(root)
        except OSError as error:
            raise write_error(error, root) from None
        yield


def remove_temporary_files(root: Path) -> None:
    """Delete the temporary files of killed processes; no other process may use the folder."""
    for folder, _, _ in os.walk(root):
        remove_leftovers(Path(folder), exclusive=True)
