"""Apply a trained network to your own images; see ``python src/predict.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("predict")
