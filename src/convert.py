"""The authors' TensorFlow checkpoints as weights of this project; see ``conf/convert.yaml``."""

import sys

from omegaconf import DictConfig

from deeplab.cli import parse, run_script
from deeplab.conversion.arguments import typed


def main(config: DictConfig) -> None:
    """Check the config, then convert."""
    from deeplab.config import ConvertConfig

    checked = parse(ConvertConfig, config)
    from deeplab.conversion.command import run_conversion

    run_conversion(checked)


if __name__ == "__main__":
    sys.argv[1:] = typed(sys.argv[1:])
    run_script(main, "convert")
