"""Export a trained network to a file, or upload it; see ``python src/export.py --help``."""

from omegaconf import DictConfig

from deeplab.config.hydra_app import run_script
from deeplab.config.parsing import parse


def main(config: DictConfig) -> None:
    """Check the config, then export."""
    from deeplab.config.schema.scripts import ExportConfig

    checked = parse(ExportConfig, config)
    from deeplab.tools.export.export import run_export

    run_export(checked)


if __name__ == "__main__":
    run_script(main, "export")
