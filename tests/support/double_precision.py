"""Trains in float64, as ``train.py`` does otherwise: ``python double_precision.py OVERRIDES``.

In float64 a different order of additions changes the weights by 1e-15, and any other difference
between numbers of devices shows.
"""

import dataclasses
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

import deeplab.config.execution
from deeplab.config.hydra_app import run_script
from train import main

choose_execution = deeplab.config.execution.choose_execution


def choose_double_precision(*arguments):
    """Return the execution settings of this machine, in float64."""
    return dataclasses.replace(choose_execution(*arguments), precision="64-true")


if __name__ == "__main__":
    os.cpu_count = lambda: 8  # three processes on two cores are slow, not wrong
    deeplab.config.execution.choose_execution = choose_double_precision
    run_script(main, "train")
