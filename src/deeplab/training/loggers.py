"""The loggers of a run: ``metrics.csv`` always, and W&B or TensorBoard beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from deeplab.config import LoggerConfig
from deeplab.dashboard import if_it_answers, open_run, training_scores
from deeplab.pictures import Example
from deeplab.records import RunFolder
from deeplab.training.csvlog import MetricsCSV


def build_loggers(
    config: LoggerConfig,
    folder: RunFolder,
    *,
    columns: Sequence[str],
    resolved: dict[str, Any],
    record: Mapping[str, Any],
    first_step: int,
) -> list[Logger]:
    """The CSV logger, then the chosen one.

    Args:
        config: the choice.
        folder: where files go.
        columns: of ``metrics.csv``.
        resolved: the whole config, for the dashboard.
        record: the run's ``run.json``.
        first_step: the step that the run continues from, or 0.
    """
    loggers: list[Logger] = [MetricsCSV(folder.metrics_csv, columns, first_step=first_step)]
    if config.name == "tensorboard":
        loggers.append(TensorBoardLogger(folder.path, name="", version="tensorboard"))
    if config.name == "wandb":
        loggers.append(_wandb_logger(config, folder, resolved, record))
    return loggers


def _wandb_logger(
    config: LoggerConfig, folder: RunFolder, resolved: dict[str, Any], record: Mapping[str, Any]
) -> WandbLogger:
    """One that logs by the training's steps; it has a run in the main process only."""
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]
        return WandbLogger(save_dir=str(folder.path))
    run = open_run(config, folder, record, config=resolved)
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(save_dir=str(folder.path), experiment=run)


def publish_examples(
    loggers: Sequence[Logger],
    class_names: Sequence[str],
    examples: Sequence[Example],
    sheet: Path,
    step: int,
) -> None:
    """Validation pictures to W&B: with truth and prediction as masks to switch on and off, in
    colours of its own, and the painted sheet in those of the data set."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            labels = {**dict(enumerate(class_names)), 255: "ignored"}
            images = {
                f"examples/{e.image_id}": wandb.Image(
                    e.image,
                    masks={
                        "prediction": {"mask_data": e.prediction, "class_labels": labels},
                        "truth": {"mask_data": e.truth, "class_labels": labels},
                    },
                )
                for e in examples
            }
            painted = {"sheet": wandb.Image(str(sheet))}
            logger.experiment.log({**images, **painted, "trainer/global_step": step})


def publish_sheet(loggers: Sequence[Logger], sheet: Path, step: int) -> None:
    """The painted validation pictures to W&B."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            picture = wandb.Image(str(sheet))
            logger.experiment.log({"sheet": picture, "trainer/global_step": step})


def publish_result(loggers: Sequence[Logger], result: Mapping[str, Any]) -> None:
    """The final scores, as ``metrics.json`` has them, to W&B."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            with if_it_answers():
                logger.experiment.log(training_scores(result))


def finish(loggers: Sequence[Logger]) -> None:
    """Close the W&B run, so that the next job of a sweep has one of its own."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish()
