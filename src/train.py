"""Train one DeepLabv3+; see ``python src/train.py --help``."""

from omegaconf import DictConfig

from deeplab.config.hydra_app import run_script


def main(config: DictConfig) -> None:
    """Check the config, then run the experiment and the evaluations that were asked for."""
    from deeplab.training.validate_config import check_train

    checked = check_train(config)
    from deeplab.training.launch import ran_alone

    if ran_alone(checked.trainer):
        return
    from deeplab.evaluation.after_training import check_evaluations, evaluate_trained
    from deeplab.training.train import run_experiment

    check_evaluations(checked)
    folder = run_experiment(checked)
    evaluate_trained(checked, folder)


if __name__ == "__main__":
    run_script(main, "train")
