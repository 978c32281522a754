"""Make a data set ready, or check it; see ``python src/prepare.py --help``."""

from omegaconf import DictConfig

from deeplab.cli import parse, run_script


def main(config: DictConfig) -> None:
    """Check the config, then prepare or examine."""
    from deeplab.config import PrepareConfig, PreparePicturesConfig
    from deeplab.config.pictures import PICTURES

    if config.data.name in PICTURES:
        of_pictures = parse(PreparePicturesConfig, config)
        from deeplab.examination import prepare_pictures

        prepare_pictures(of_pictures)
        return
    checked = parse(PrepareConfig, config)
    if checked.check:
        from deeplab.examination import run_check

        run_check(checked)
    else:
        from deeplab.prepare import run_preparation

        run_preparation(checked)


if __name__ == "__main__":
    run_script(main, "prepare")
