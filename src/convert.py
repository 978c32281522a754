"""Convert the authors' TensorFlow checkpoints; see ``python src/convert.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("convert")
