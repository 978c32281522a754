"""Links that lead out of a folder."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from deeplab.utils.errors import UserError


def check_links(folder: Path) -> None:
    """Check that a folder, which may be a link itself, has no links that lead out of it.

    What is written to such a folder or file would be written elsewhere.

    Raises:
        UserError: it has one.
    """
    for link in _links(folder):
        check_inside(link, folder)


def check_inside(path: Path, folder: Path) -> None:
    """Check that a path below a folder does not lead out of it through a link.

    Raises:
        UserError: it does.
    """
    target = Path(os.path.realpath(path))  # unlike Path.resolve, never raises
    if not target.is_relative_to(os.path.realpath(folder)):
        raise UserError(
            f"{path}: this link leads out of {folder}, to {target}, where nothing is written. "
            "Replace it by what it leads to, or remove it."
        )


def _links(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:  # removed by another process
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry.path)
            elif entry.is_dir() and entry.name != "wandb":  # W&B makes links to its logs
                yield from _links(Path(entry.path))
