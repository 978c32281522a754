"""Write a trained network as a file of its own, or upload it; see ``conf/export.yaml``."""

from omegaconf import DictConfig

from deeplab.cli import parse, run_script


def main(config: DictConfig) -> None:
    """Check the config, then export."""
    from deeplab.config import ExportConfig

    checked = parse(ExportConfig, config)
    from deeplab.export.command import run_export

    run_export(checked)


if __name__ == "__main__":
    run_script(main, "export")
