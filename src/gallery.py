"""Write an HTML gallery of an evaluation; see ``python src/gallery.py --help``."""

from deeplab.cli import run_command

if __name__ == "__main__":
    run_command("gallery")
