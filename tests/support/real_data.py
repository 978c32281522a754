"""Optional real images and weights, which are not part of the project."""

import os
from pathlib import Path

import pytest

from support.repository import ROOT

REAL = Path(os.environ.get("DEEPLAB_REAL_DATA", ROOT.parent / "shared" / "data"))
VOC = REAL / "voc2012" / "VOCdevkit" / "VOC2012"


def real(path: str) -> Path:
    """Return a file or folder of the real data; skip the test if it is missing."""
    if not (REAL / path).exists():
        pytest.skip(f"{path} of the real data is missing")
    return REAL / path
