"""Plan and report the paper's tables; see ``python src/ablations.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("ablations")
