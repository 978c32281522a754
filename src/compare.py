"""Compare evaluations; see ``python src/compare.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("compare")
