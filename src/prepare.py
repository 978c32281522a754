"""Prepare a data set, or check it; see ``python src/prepare.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("prepare")
