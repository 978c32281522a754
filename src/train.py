"""Train a DeepLabv3+ network; see ``python src/train.py --help``."""

from omegaconf import DictConfig

from deeplab.config.hydra_app import run_script


def main(config: DictConfig) -> float:
    """Check the config, train and run the evaluations; return the main score for sweepers."""
    from deeplab.training.validate_config import check_train

    checked = check_train(config)
    from deeplab.training.launch import report_score, run_in_subprocess_if_needed

    score = run_in_subprocess_if_needed(checked.trainer)
    if score is not None:
        return score
    from deeplab.evaluation.after_training import check_evaluations, evaluate_after_training
    from deeplab.training.train import check_machine, run_experiment

    check_machine(checked)
    check_evaluations(checked)
    folder = run_experiment(checked)
    evaluate_after_training(checked, folder)
    return report_score(folder)


if __name__ == "__main__":
    run_script(main, "train")
