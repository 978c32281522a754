"""Export a trained network to a file, or upload it; see ``python src/export.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("export")
