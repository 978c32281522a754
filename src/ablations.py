"""Tables of the paper: what is to be done, and the report; see ``--help``."""

import sys

from deeplab.ablations.cli import run_ablations

if __name__ == "__main__":
    run_ablations(sys.argv[1:])
