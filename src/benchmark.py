"""Measure the speed of a part of the project; see ``python src/benchmark.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("benchmark")
