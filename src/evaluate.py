"""Evaluate a trained network on whole images; see ``python src/evaluate.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("evaluate")
