"""Evaluations in the W&B run of their training: the same tables, curves and pictures."""

import csv
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplab.config.schema.logger import LoggerConfig
from deeplab.evaluation.evaluation_folder import Evaluation, read_evaluation
from deeplab.tracking.run_folder import RunFolder, read_json, read_record
from deeplab.tracking.wandb_run import (
    evaluation_key,
    if_it_answers,
    labeled,
    open_run,
    table,
    training_scores,
)
from deeplab.utils.files import write_json

if TYPE_CHECKING:
    import wandb


def publish_evaluations(
    config: LoggerConfig, folder: RunFolder, new: Sequence[Evaluation]
) -> Path | None:
    """Add evaluations to the run's own W&B run; says so where this fails.

    Args:
        config: the logger that the run was trained with.
        folder: of the run.
        new: those that were made now; of the others there are the scores.

    Returns:
        Where the offline files are; None if they were sent.
    """
    with if_it_answers():
        run = open_run(config, folder, read_record(folder))
        try:
            _log(run, folder, new)
        finally:
            run.finish()
        return Path(run.dir).parent if run.offline else None
    return None


def _log(run: "wandb.Run", folder: RunFolder, new: Sequence[Evaluation]) -> None:
    step = int(time.time())  # W&B drops what is not behind the training and earlier evaluations
    for evaluation in new:
        if evaluation.result["scored"]:
            run.log(_named(evaluation, _shown(evaluation)), step)
    results = sorted(folder.evaluations.glob("*/result.json"))
    known = [read_evaluation(path.parent) for path in results]
    scored = [evaluation for evaluation in known if evaluation.result["scored"]]
    if scored:
        rows = [{"evaluation": e.folder.path.name, **_row(e)} for e in scored]
        run.log({"evaluations": table(rows)}, step)
    if folder.finished:
        run.log(training_scores(read_json(folder.result)), step)
    run.summary.update(_last_logged(folder))
    for evaluation in scored:
        run.summary.update(_named(evaluation, _row(evaluation)))


def label(config: LoggerConfig, folder: RunFolder, group: str, tags: Iterable[str]) -> Path | None:
    """Put a finished run under a group and add tags, if it has them not yet.

    Returns:
        Where the offline files are; None if there was nothing to do, or it was sent.
    """
    before = read_record(folder)
    record = labeled(before, group, tags)
    if record == before:
        return None
    write_json(folder.record, record)
    return publish_evaluations(config, folder, [])


def _named(evaluation: Evaluation, values: Mapping[str, Any]) -> dict[str, Any]:
    prefix = evaluation_key(evaluation.folder.path.name)
    return {f"{prefix}/{key}": value for key, value in values.items()}


def _last_logged(folder: RunFolder) -> dict[str, float]:
    """The last value of each column of ``metrics.csv``."""
    if not folder.metrics_csv.is_file():
        return {}
    with folder.metrics_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        key: float(value) for row in rows for key, value in row.items() if value and key != "step"
    }


def _row(evaluation: Evaluation) -> dict[str, Any]:
    result = evaluation.result
    if "top1_error" in result:
        errors = {key: result[key] for key in ("top1_error", "top5_error")}
        return errors | {"multiply_adds": result["cost"]["multiply_adds"]["paper"]}
    return {
        "mIoU": result["mIoU"],
        "pixel_accuracy": result["pixel_accuracy"],
        "boundary_IoU": result["boundary"]["boundary_IoU"],
        "boundary_F": result["boundary"]["boundary_F"],
        "multiply_adds": result["cost"]["multiply_adds"]["paper"],
    }


def _shown(evaluation: Evaluation) -> dict[str, Any]:
    """Tables by class and by band, and the pictures that there are."""
    import wandb

    folder = evaluation.folder
    pictures = {"examples": folder.examples, "boundary_curve": folder.boundary_png}
    tables = {}
    if "class_IoU" in evaluation.result:
        tables["classes"] = _class_table(evaluation.result)
        tables["bands"] = table(evaluation.result["boundary"]["bands"])
    return {
        **tables,
        **{key: wandb.Image(str(path)) for key, path in pictures.items() if path.is_file()},
    }


def _class_table(result: Mapping[str, Any]) -> Any:
    boundary = result["boundary"]
    return table(
        [
            {
                "class": name,
                "IoU": iou,
                "boundary_IoU": boundary["class_boundary_IoU"][name],
                "boundary_F": boundary["class_boundary_F"][name],
            }
            for name, iou in result["class_IoU"].items()
        ]
    )
