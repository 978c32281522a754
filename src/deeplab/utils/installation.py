"""Copies of this package on the machine: which one runs, and whether another is in its way."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab.utils.errors import UserError
from deeplab.utils.program import PACKAGE

if TYPE_CHECKING:
    from importlib.metadata import Distribution

DISTRIBUTION = "deeplabv3plus"

SAME_FOLDER = "deeplab"
"""Name of a distribution of other authors, and of earlier versions, whose folder is the same."""


def check_installation(version: str) -> None:
    """Say which copy runs if there are several.

    Args:
        version: version of the package that runs.

    Raises:
        UserError: the files of two distributions are mixed in one folder.
    """
    others = []
    for name in (SAME_FOLDER, DISTRIBUTION):
        for found in _wheels(name):
            folder = Path(str(found.locate_file("deeplab"))).resolve()
            if name == DISTRIBUTION and found.version == version:
                continue
            if folder == PACKAGE:
                raise UserError(
                    f"{PACKAGE}: files of {DISTRIBUTION} {version} and of {name} {found.version}, "
                    "which is also installed, are mixed in this folder. Run pip uninstall "
                    f"{SAME_FOLDER} {DISTRIBUTION}, then install {DISTRIBUTION} again."
                )
            if name == DISTRIBUTION:
                others.append(f"{found.version} in {folder}")
    if others:
        _note(f"{', '.join(others)} is also installed; pip uninstall {DISTRIBUTION} removes it")
    here = Path("src", "deeplab").absolute()
    if (here / "cli.py").is_file() and not here.samefile(PACKAGE):
        _note(f"not that of this folder, {here}; pip install -e . installs that one")


def _note(text: str) -> None:
    print(f"Note: this is the package in {PACKAGE}; {text}.", file=sys.stderr)


def _wheels(name: str) -> Iterator["Distribution"]:
    """Yield installed distributions of a name whose files are copies, not those of a checkout."""
    from importlib.metadata import distributions

    for found in distributions(name=name):
        if found.read_text("RECORD") is None:  # left in a checkout by a build
            continue
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        if not origin.get("dir_info", {}).get("editable"):
            yield found
