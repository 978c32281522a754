"""Logging of evaluations to the W&B run of their training run: tables, curves and figures."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplab.config.schema.logger import LoggerSettings
from deeplab.evaluation.evaluation_folder import Evaluation, run_evaluations
from deeplab.tracking.result import BoundaryResult, Result
from deeplab.tracking.run_folder import OVERWRITE_HINT, RunFolder
from deeplab.tracking.run_record import read_record
from deeplab.tracking.wandb_run import (
    evaluation_key,
    leave_agent,
    open_run,
    tolerate_wandb_errors,
    training_scores,
    wandb_table,
)
from deeplab.utils.links import check_links
from deeplab.utils.reading import exists, read_csv, report_damage

if TYPE_CHECKING:
    import wandb


def log_evaluations(
    config: LoggerSettings, folder: RunFolder, new: Sequence[Evaluation]
) -> Path | None:
    """Add evaluations to the W&B run of a training run; print a message if this fails.

    Args:
        config: the logger that the run was trained with.
        folder: the run folder.
        new: new evaluations, logged completely; of earlier ones the scores are logged.

    Returns:
        The folder of the offline files; None if they were uploaded.
    """
    with tolerate_wandb_errors():
        record = read_record(folder)
        leave_agent(record.wandb_id)
        run = open_run(config, folder, record)
        try:
            _log(run, folder, new)
        finally:
            run.finish()
        return Path(run.dir).parent if run.offline else None
    return None


def report_to_agent(config: LoggerSettings, folder: RunFolder) -> None:
    """Log a finished run to the W&B run of the agent that has asked for it again.

    A search needs the score of every run that it starts, also of settings that are trained already.
    """
    asked = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
    if config.name != "wandb" or not asked or not folder.finished:
        return
    with tolerate_wandb_errors():
        record = read_record(folder)
        if record.wandb_id == asked:
            return
        run = open_run(config, folder, record)  # with the agent's id
        try:
            _log(run, folder, [])
        finally:
            run.finish()


def _log(run: "wandb.Run", folder: RunFolder, new: Sequence[Evaluation]) -> None:
    step = int(time.time())  # W&B drops steps that are not after training and earlier evaluations
    for evaluation in new:
        if evaluation.result.scored:
            run.log(_add_prefix(evaluation, _tables_and_figures(evaluation)), step)
    scored = [evaluation for evaluation in run_evaluations(folder) if evaluation.result.scored]
    if scored:
        rows = [{"evaluation": e.folder.path.name, **_row(e)} for e in scored]
        run.log({"evaluations": wandb_table(rows)}, step)
    if folder.finished:
        run.log(training_scores(Result.read(folder.result, OVERWRITE_HINT)), step)
    run.summary.update(_last_logged(folder))
    for evaluation in scored:
        run.summary.update(_add_prefix(evaluation, _row(evaluation)))


def label_run(
    config: LoggerSettings, folder: RunFolder, group: str, tags: Iterable[str]
) -> Path | None:
    """Assign a finished run to a group and add tags, unless it has them already.

    Returns:
        The folder of the offline files; None if nothing changed or it was uploaded.
    """
    record = read_record(folder)
    if not record.add_group_and_tags(group, tags):
        return None
    check_links(folder.path)
    record.write(folder.record)
    return log_evaluations(config, folder, [])


def _add_prefix(evaluation: Evaluation, values: Mapping[str, Any]) -> dict[str, Any]:
    prefix = evaluation_key(evaluation.folder.path.name)
    return {f"{prefix}/{key}": value for key, value in values.items()}


def _last_logged(folder: RunFolder) -> dict[str, float]:
    """Return the last value of each column of ``metrics.csv``."""
    if not exists(folder.metrics_csv):
        return {}
    rows = read_csv(folder.metrics_csv, OVERWRITE_HINT)
    with report_damage(folder.metrics_csv, OVERWRITE_HINT):
        return {
            key: float(value)
            for row in rows
            for key, value in row.items()
            if value and key != "step"
        }


def _row(evaluation: Evaluation) -> dict[str, Any]:
    result = evaluation.result
    scores = {metric.key: result.value(metric.key) for metric in result.metrics}
    return scores | {"multiply_adds": result.cost and result.cost.multiply_adds.paper}


def _tables_and_figures(evaluation: Evaluation) -> dict[str, Any]:
    """Return tables by class and by band, and the existing figures."""
    import wandb

    folder = evaluation.folder
    figures = {"examples": folder.examples, "boundary_curve": folder.boundary_png}
    tables = {}
    if boundary := evaluation.result.boundary:
        tables["classes"] = _class_table(evaluation.result, boundary)
        tables["bands"] = wandb_table([{"width": b.width, **b.scores} for b in boundary.bands])
    return {
        **tables,
        **{key: wandb.Image(str(path)) for key, path in figures.items() if path.is_file()},
    }


def _class_table(result: Result, boundary: BoundaryResult) -> Any:
    return wandb_table(
        [
            {
                "class": name,
                "IoU": iou,
                "boundary_IoU": boundary.class_boundary_IoU[name],
                "boundary_F": boundary.class_boundary_F[name],
            }
            for name, iou in result.class_IoU.items()
        ]
    )
