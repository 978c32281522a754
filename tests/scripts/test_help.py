"""Output of ``--help``, which must appear without loading torch."""

import subprocess
import sys

import pytest

from deeplab.config.paths import ROOT


@pytest.mark.parametrize(
    "script",
    ["train", "cost", "compare", "convert", "evaluate", "export", "predict", "prepare", "gallery"],
)
def test_help_does_not_import_torch(script):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['src/{script}.py', '--help']\n"
        "sys.path.insert(0, 'src')\n"
        "try:\n"
        f"    runpy.run_path('src/{script}.py', run_name='__main__')\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'torch', 'lightning', 'albumentations', 'wandb', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"python src/{script}.py" in done.stdout
