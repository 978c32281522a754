"""The loggers of a run: ``metrics.csv`` always, and W&B or TensorBoard beside it."""

import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from deeplab.config import LoggerConfig
from deeplab.metrics import Scores
from deeplab.pictures import Example
from deeplab.records import RunFolder
from deeplab.training.csvlog import MetricsCSV


def metric_names(class_names: Sequence[str]) -> list[str]:
    """The columns of ``metrics.csv``."""
    per_class = [f"val/IoU/{name}" for name in class_names]
    return ["train/loss", "train/lr", "val/mIoU", "val/pixel_accuracy", *per_class]


def build_loggers(
    config: LoggerConfig,
    folder: RunFolder,
    *,
    class_names: Sequence[str],
    resolved: dict[str, Any],
    run_id: str,
    first_step: int,
) -> list[Logger]:
    """The CSV logger, then the chosen one.

    Args:
        config: the choice.
        folder: where files go.
        class_names: for the columns.
        resolved: the whole config, for the dashboard.
        run_id: W&B's id of this run; the same one continues it.
        first_step: the step that the run continues from, or 0.
    """
    loggers: list[Logger] = [
        MetricsCSV(folder.metrics_csv, metric_names(class_names), first_step=first_step)
    ]
    if config.name == "tensorboard":
        loggers.append(TensorBoardLogger(folder.path, name="", version="tensorboard"))
    if config.name == "wandb":
        loggers.append(_wandb_logger(config, folder, resolved, run_id))
    return loggers


def _wandb_logger(
    config: LoggerConfig, folder: RunFolder, resolved: dict[str, Any], run_id: str
) -> WandbLogger:
    os.environ.setdefault("WANDB_SILENT", "true")  # the run says itself where its results are
    import wandb

    return WandbLogger(
        project=config.project,
        entity=config.entity,
        name=folder.path.name,
        group=config.group,
        tags=list(config.tags),
        id=run_id,
        save_dir=str(folder.path),
        mode=wandb_mode(config.mode),
        resume="allow",
        config=resolved,
        job_type="train",
        settings=wandb.Settings(silent=True, console="off"),
    )


def wandb_mode(mode: str) -> str:
    """``online`` or ``offline``: auto is online for a user who is logged in.

    ``WANDB_MODE`` in the environment counts more than ``auto``.
    """
    if mode != "auto":
        return mode
    if stated := os.environ.get("WANDB_MODE"):
        return stated
    return "online" if os.environ.get("WANDB_API_KEY") or _in_netrc() else "offline"


def _in_netrc() -> bool:
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


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


def publish_result(loggers: Sequence[Logger], class_names: Sequence[str], final: Scores) -> None:
    """The final scores as W&B summary values and a table per class."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            rows = [[name, iou] for name, iou in zip(class_names, final.class_iou, strict=True)]
            table = wandb.Table(columns=["class", "IoU"], data=rows)
            logger.experiment.log({"val/per_class": table})
            logger.experiment.summary["mIoU"] = final.miou
            logger.experiment.summary["pixel_accuracy"] = final.pixel_accuracy


def finish(loggers: Sequence[Logger]) -> None:
    """Close the W&B run, so that the next job of a sweep has one of its own."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish()
