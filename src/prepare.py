"""Prepare a data set, or check it; see ``python src/prepare.py --help``."""

from omegaconf import DictConfig

from deeplab.config.hydra_app import run_script
from deeplab.config.parsing import parse


def main(config: DictConfig) -> None:
    """Check the config, then prepare or check the data set."""
    from deeplab.config.schema.run import has_labels
    from deeplab.config.schema.scripts import PrepareClassificationConfig, PrepareConfig

    if has_labels(config.data.name):
        classification = parse(PrepareClassificationConfig, config)
        from deeplab.preparation.run_doctor import prepare_classification_data

        prepare_classification_data(classification)
        return
    checked = parse(PrepareConfig, config)
    if checked.check:
        from deeplab.preparation.run_doctor import run_check

        run_check(checked)
    else:
        from deeplab.preparation.prepare import run_preparation

        run_preparation(checked)


if __name__ == "__main__":
    run_script(main, "prepare")
