"""Find a learning rate or a batch size; see ``python src/tune.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("tune")
