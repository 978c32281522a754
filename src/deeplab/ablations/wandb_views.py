"""Saved W&B views of tables: the runs of a table side by side, for all members of the project."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeplab.ablations.distinct_jobs import Job
from deeplab.ablations.sweep import job_group, table_tag
from deeplab.ablations.sweep_request import SweepRequest
from deeplab.ablations.tables import Table
from deeplab.config.schema.logger import LoggerSettings
from deeplab.metrics.definitions import TRAIN_LOSS, VALIDATION
from deeplab.tracking.run_identity import flat_result_settings
from deeplab.tracking.wandb_run import evaluation_key, wandb_mode
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.files import write_json
from deeplab.utils.reading import read_values

VIEWS_FILE = "views.json"
"""File in the report's folder with the address of each table's view, which is updated there."""


def save_views(
    request: SweepRequest, jobs: Sequence[Job], group: str, folder: Path
) -> dict[str, str]:
    """Save a view for each table and return the addresses by table.

    Args:
        request: request with the tables.
        jobs: distinct jobs of the tables.
        group: group of their runs on the dashboard, unless one was typed.
        folder: folder of the report.

    Raises:
        UserError: W&B is offline or refuses access, or a package is missing.
    """
    logger = _wandb_logger(jobs)
    require_extra("dashboards", "wandb_workspaces", setting="views")
    import wandb
    import wandb_workspaces.workspaces as ws

    file = folder / VIEWS_FILE
    addresses = read_values(file, "Delete it to save new views.") if file.exists() else {}
    try:
        entity = logger.entity or wandb.Api().default_entity
        for name, table in request.tables.items():
            table_jobs = [job for job in jobs if any(e.table == name for e in job.row_evaluations)]
            if not table_jobs:
                continue  # none of its rows can be run
            view = ws.Workspace(
                entity=str(entity),
                project=str(logger.project),
                **_content(ws, table, name, table_jobs, job_group(table_jobs[0], group)),
            )
            if name in addresses:
                saved = ws.Workspace.from_url(addresses[name])
                saved.sections, saved.runset_settings = view.sections, view.runset_settings
                view = saved
            addresses[name] = str(view.save().url)
            write_json(file, addresses)
    except (wandb.Error, ValueError) as error:
        raise UserError(f"W&B: {error}") from None
    return {name: addresses[name] for name in request.tables if name in addresses}


def _wandb_logger(jobs: Sequence[Job]) -> LoggerSettings:
    """Return the logger of the jobs, which must be W&B's, online."""
    logger = jobs[0].config.logger if jobs else None
    if logger is None or logger.name != "wandb":
        name = logger.name if logger else None
        raise UserError(f"logger={name}: views show runs on W&B. Set logger=wandb.")
    if wandb_mode(logger.mode) != "online":
        raise UserError(
            "logger=wandb: W&B is offline, but views are saved on its server. Run `wandb login`, "
            "upload the runs with `wandb sync RUNS/*/wandb/offline-run-*` and run this command "
            "again."
        )
    return logger


def _content(ws: Any, table: Table, name: str, jobs: Sequence[Job], group: str) -> dict[str, Any]:
    """Return name, rows, columns and panels of a table's view."""
    evaluations = _evaluation_keys(jobs, name)
    scores = [f"{key}/{score}" for key in evaluations for score in table.scores]
    segmentation = "mIoU" in table.scores
    boundary = [f"{key}/boundary_IoU" for key in evaluations if segmentation]
    cost = f"{evaluations[0]}/multiply_adds"
    settings = [f"config:{_wandb_config_key(key)}" for key in _differing_keys(jobs)]
    return {
        "name": f"{table.title} ({group})",
        "runset_settings": ws.RunsetSettings(
            filters=[ws.Metric("Group") == group, ws.Tags().isin([table_tag(name)])],
            order=[ws.Ordering(ws.Metric("CreatedTimestamp"))],
            pinned_columns=[
                "run:displayName",
                *settings,
                *(f"summary:{key}" for key in (*scores, *boundary, cost)),
                "tags:__ALL__",
            ],
        ),
        "sections": _sections(ws, scores, cost, table.scores[0]),
    }


def _sections(ws: Any, scores: Sequence[str], cost: str, main: str) -> list[Any]:
    """Return the panels: scores, accuracy over cost, training curves, images.

    ``main`` is the score that is validated during training.
    """
    import wandb_workspaces.reports.v2 as wr

    accuracy = wr.ScatterPlot(
        title="Accuracy and cost", x=wr.SummaryMetric(cost), y=wr.SummaryMetric(scores[0])
    )
    panels = {
        "Scores": [
            *(wr.BarPlot(title=key, metrics=[key], orientation="h") for key in scores),
            accuracy,
            wr.WeavePanelSummaryTable(table_name="evaluations"),
        ],
        "Training": [
            wr.LinePlot(x="trainer/global_step", y=[key])
            for key in (TRAIN_LOSS, f"{VALIDATION}{main}")
        ],
        "Images": [wr.MediaBrowser(media_keys=["validation"], num_columns=2)],
    }
    return [ws.Section(name=name, is_open=True, panels=group) for name, group in panels.items()]


def _evaluation_keys(jobs: Sequence[Job], table: str) -> list[str]:
    """Return the summary keys of the evaluations that score the table's rows."""
    return list(
        dict.fromkeys(
            evaluation_key(row_evaluation.name_of(job.config))
            for job in jobs
            for row_evaluation in job.row_evaluations
            if row_evaluation.table == table
        )
    )


def _differing_keys(jobs: Sequence[Job]) -> list[str]:
    """Return the config keys in which the table's runs differ."""
    flat: list[Mapping[str, Any]] = [flat_result_settings(job.config) for job in jobs]
    keys = dict.fromkeys(key for values in flat for key in values)
    return [k for k in keys if any(values.get(k) != flat[0].get(k) for values in flat)]


def _wandb_config_key(key: str) -> str:
    """Return a dotted key in the form of W&B, which wraps the values of a config."""
    first, _, rest = key.partition(".")
    return f"{first}.value.{rest}" if rest else f"{first}.value"
