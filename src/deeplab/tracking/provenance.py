"""Provenance of a result: the command, the code and the machine."""

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import ConfigDict

import deeplab
from deeplab.tracking.schema_version import Record
from deeplab.utils.installation import DISTRIBUTION
from deeplab.utils.program import typed_command
from deeplab.utils.settings import Bool

RECORDED_PACKAGES = (
    "torch",
    "lightning",
    "hydra-core",
    "omegaconf",
    "torchmetrics",
    "albumentations",
    "opencv-python-headless",
    "numpy",
    "wandb",
)


class Provenance(Record):
    """Command, code and machine, as far as they were recorded."""

    command: str | None = None
    started: str | None = None
    """Date and time in ISO format."""
    commit: str | None = None
    uncommitted_changes: Bool | None = None
    """True if the package's files differ from the commit."""
    python: str | None = None
    platform: str | None = None
    versions: Mapping[str, str | None] = {}
    """Version of each recorded package."""
    training_code: str | None = None
    """Hash of the code that trains; see ``deeplab.tracking.source_code``."""
    evaluation_code: str | None = None


class Machine(Record):
    """Execution settings; see ``deeplab.utils.hardware.Execution``."""

    model_config = ConfigDict(extra="allow")

    accelerator: str
    precision: str


def provenance() -> Provenance:
    """Return the provenance of what is started now, without the hashes of the code."""
    commit, changed = _state_of_code()
    return Provenance(
        command=typed_command(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        uncommitted_changes=changed,
        python=platform.python_version(),
        platform=platform.platform(),
        versions={
            DISTRIBUTION: deeplab.__version__,
            **{name: _version(name) for name in RECORDED_PACKAGES},
        },
    )


@cache  # a process keeps the code that it started with
def _state_of_code() -> tuple[str | None, bool]:
    """Return the commit of this code, and whether its files differ from it.

    The commit is None if the code is in none: an installed package may lie in the checkout of
    another project.
    """
    found = _git("rev-parse", "HEAD", "HEAD:./__init__.py")
    if not found:
        return None, False
    return found.splitlines()[0], bool(_git("status", "--porcelain", "--", "."))


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
