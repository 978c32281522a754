"""Write an HTML gallery of an evaluation; see ``python src/gallery.py --help``."""

from omegaconf import DictConfig

from deeplab.config.hydra_app import run_script
from deeplab.config.parsing import parse


def main(config: DictConfig) -> None:
    """Check the config, then write the page."""
    from deeplab.config.schema.scripts import GalleryConfig

    checked = parse(GalleryConfig, config)
    from deeplab.tools.gallery.gallery import run_gallery

    run_gallery(checked)


if __name__ == "__main__":
    run_script(main, "gallery")
