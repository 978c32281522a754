"""How far the preparation of a folder has come.

``manifest.json`` says what was made well. A file ``.preparing`` says that more has been begun: then
nothing reads the folder (``deeplab.data.layouts.base.check_whole``).
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from deeplab.data.layouts.base import PREPARING
from deeplab.utils import disk_space
from deeplab.utils.file_lock import locked
from deeplab.utils.files import write_json

LOCK = ".lock"
MANIFEST = "manifest.json"

DRAFT = re.compile(r"\..+\.(?:jpg|png|mat|txt|json)\.\d+")
"""The names that ``deeplab.utils.files.atomic_write`` gives, of files that are prepared."""


class Manifest(NamedTuple):
    """What a folder has."""

    parts: frozenset[str]
    splits: dict[str, int]  # number of images


def read_manifest(root: Path) -> Manifest:
    """What was made well so far; nothing if that is not known."""
    try:
        content = json.loads((root / MANIFEST).read_text())
        return Manifest(frozenset(content["parts"]), dict(content["splits"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Manifest(frozenset(), {})


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Write what was made well."""
    content = {"parts": sorted(manifest.parts), "splits": manifest.splits}
    write_json(root / MANIFEST, content)


def is_whole(root: Path) -> bool:
    """Whether there is a data set on which nothing has been begun since."""
    return (root / MANIFEST).is_file() and not (root / PREPARING).exists()


def mark(root: Path) -> None:
    """Say that the folder is not whole."""
    (root / PREPARING).touch()


def unmark(root: Path) -> None:
    """Say that it is."""
    (root / PREPARING).unlink()


@contextmanager
def preparing(root: Path) -> Iterator[None]:
    """Within it this process alone prepares the folder, which is marked unless it is whole.

    Raises:
        UserError: another process does; or nothing can be written there, now or later.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        busy = f"data.root={root}: another process is preparing it; let it end."
        with locked(root / LOCK, busy, wait=False):
            if not is_whole(root):
                mark(root)
            remove_drafts(root)
            yield
    except OSError as error:
        raise disk_space.refusal(error, root) from None


def remove_drafts(root: Path) -> None:
    """Delete what killed processes were writing. Nobody else may be at work in the folder."""
    for place, _, files in os.walk(root):
        for name in files:
            if DRAFT.fullmatch(name):
                Path(place, name).unlink(missing_ok=True)
