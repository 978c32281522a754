"""Train a DeepLabv3+ network; see ``python src/train.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("train")
