"""Open a page that segments dropped images; see ``python src/demo.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("demo")
