"""Plan and report the paper's tables; see ``python src/ablations.py --help``."""

import sys

from deeplab.ablations.cli import run_ablations

if __name__ == "__main__":
    run_ablations(sys.argv[1:])
