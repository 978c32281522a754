"""Make a page of an evaluation's images; see ``conf/gallery.yaml``."""

from omegaconf import DictConfig

from deeplab.cli import parse, run_script


def main(config: DictConfig) -> None:
    """Check the config, then make the page."""
    from deeplab.config import GalleryConfig

    checked = parse(GalleryConfig, config)
    from deeplab.gallery.command import run_gallery

    run_gallery(checked)


if __name__ == "__main__":
    run_script(main, "gallery")
