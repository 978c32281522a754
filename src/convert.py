"""Convert the authors' TensorFlow checkpoints; see ``python src/convert.py --help``."""

import sys

from omegaconf import DictConfig

from deeplab.config.hydra_app import run_script
from deeplab.config.parsing import parse
from deeplab.tools.convert.arguments import add_keys


def main(config: DictConfig) -> None:
    """Check the config, then convert."""
    from deeplab.config.schema.scripts import ConvertConfig

    checked = parse(ConvertConfig, config)
    from deeplab.tools.convert.convert import run_conversion

    run_conversion(checked)


if __name__ == "__main__":
    sys.argv[1:] = add_keys(sys.argv[1:])
    run_script(main, "convert")
