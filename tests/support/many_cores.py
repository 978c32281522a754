"""Trains with more processes than there are cores: ``python many_cores.py OVERRIDES``.

Three processes on two cores are slow, not wrong.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from deeplab.config.hydra_app import run_script
from train import main

if __name__ == "__main__":
    os.cpu_count = lambda: 8
    run_script(main, "train")
