"""List the runs of a folder; see ``python src/runs.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("runs")
