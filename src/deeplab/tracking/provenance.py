"""Provenance of a result: the command, the code and the machine."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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


def provenance() -> dict[str, Any]:
    """Return the provenance of a result: command, commit, versions, time.

    ``uncommitted_changes`` says whether the package's files differ from the commit.
    """
    commit = _commit()
    return {
        "command": " ".join(["python", *sys.argv]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "uncommitted_changes": bool(commit and _git("status", "--porcelain", "--", ".")),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in RECORDED_PACKAGES},
    }


def _commit() -> str | None:
    """Return the commit of this code; None if it is not in a commit.

    An installed package may lie in the checkout of another project.
    """
    found = _git("rev-parse", "HEAD", "HEAD:./__init__.py")
    return found.splitlines()[0] if found else None


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
