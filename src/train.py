"""Train one DeepLabv3+; see ``python src/train.py --help``."""

from omegaconf import DictConfig

from deeplab.cli import run_script


def main(config: DictConfig) -> None:
    """Check the config, then run the experiment."""
    from deeplab.check import check_train

    checked = check_train(config)
    from deeplab.training.command import run_experiment

    run_experiment(checked)


if __name__ == "__main__":
    run_script(main, "train")
