"""Evaluations in the W&B run of their training: the same tables, curves and pictures."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeplab.config import LoggerConfig
from deeplab.evaluation.folder import Evaluation
from deeplab.records import RunFolder, read_record
from deeplab.training.loggers import wandb_mode


def publish_evaluations(
    config: LoggerConfig, folder: RunFolder, evaluations: Sequence[Evaluation]
) -> Path | None:
    """Log results to the run's own W&B run, which they continue.

    Args:
        config: the logger that the run was trained with.
        folder: of the run.
        evaluations: of it; those without scores are left out.

    Returns:
        Where the offline files are; None if they were sent.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    mode = wandb_mode(config.mode)
    run = wandb.init(
        project=config.project,
        entity=config.entity,
        name=folder.path.name,
        group=config.group,
        tags=list(config.tags),
        id=read_record(folder)["wandb_id"],
        dir=str(folder.path),
        mode=mode,  # type: ignore[arg-type]
        resume="allow" if mode == "online" else None,
        job_type="train",
        settings=wandb.Settings(silent=True, console="off"),
    )
    step = int(time.time())  # W&B drops what is not behind the training and earlier evaluations
    scored = [evaluation for evaluation in evaluations if evaluation.result["scored"]]
    for evaluation in scored:
        name = f"evaluation/{evaluation.folder.path.name}"
        run.log({f"{name}/{key}": value for key, value in _shown(evaluation).items()}, step=step)
        for key, value in _row(evaluation).items():
            run.summary[f"{name}/{key}"] = value
    rows = [{"evaluation": e.folder.path.name, **_row(e)} for e in scored]
    run.log({"evaluations": _table(rows)}, step=step)
    files = Path(run.dir).parent
    run.finish()
    return files if mode == "offline" else None


def _row(evaluation: Evaluation) -> dict[str, Any]:
    result = evaluation.result
    return {
        "mIoU": result["mIoU"],
        "pixel_accuracy": result["pixel_accuracy"],
        "boundary_IoU": result["boundary"]["boundary_IoU"],
        "boundary_F": result["boundary"]["F"],
        "multiply_adds": result["cost"]["multiply_adds"]["paper"],
    }


def _shown(evaluation: Evaluation) -> dict[str, Any]:
    """Tables by class and by band, and the pictures that there are."""
    import wandb

    folder = evaluation.folder
    pictures = {"examples": folder.examples, "boundary_curve": folder.boundary_png}
    return {
        "classes": _class_table(evaluation.result),
        "bands": _table(evaluation.result["boundary"]["bands"]),
        **{key: wandb.Image(str(path)) for key, path in pictures.items() if path.is_file()},
    }


def _class_table(result: Mapping[str, Any]) -> Any:
    boundary = result["boundary"]
    return _table(
        [
            {
                "class": name,
                "IoU": iou,
                "boundary_IoU": boundary["class_boundary_IoU"][name],
                "boundary_F": boundary["class_F"][name],
            }
            for name, iou in result["class_IoU"].items()
        ]
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> Any:
    import wandb

    columns: list[str | int] = list(rows[0]) if rows else []
    return wandb.Table(columns=columns, data=[list(row.values()) for row in rows])
