"""Real images and weights, which the tests can do without: they are not part of the project."""

import os
from pathlib import Path

import pytest

from deeplab.config.paths import ROOT

REAL = Path(os.environ.get("DEEPLAB_REAL_DATA", ROOT.parent / "shared" / "data"))
VOC = REAL / "voc2012" / "VOCdevkit" / "VOC2012"


def real(path: str) -> Path:
    """A file or folder of the real data; the test is skipped where it is not there."""
    if not (REAL / path).exists():
        pytest.skip(f"{path} of the real data is not here")
    return REAL / path
