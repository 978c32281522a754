"""Print parameters, multiply-adds and speed of a network; see ``python src/cost.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("cost")
