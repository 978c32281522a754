"""A table as a saved view of a W&B project: its runs side by side, for everybody who sees it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeplab.ablations.jobs import SweepRequest, Training
from deeplab.ablations.sweep import table_tag
from deeplab.ablations.tables import Table
from deeplab.config.schema.logger import LoggerConfig
from deeplab.evaluation.evaluation_folder import evaluation_name
from deeplab.tracking.protocol import resolve_strategy_name
from deeplab.tracking.run_folder import flat_result_settings
from deeplab.tracking.wandb_run import evaluation_key, wandb_mode
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_json

SAVED = "views.json"
"""In the report's folder: where the view of each table is, which is saved again there."""


def save_views(
    request: SweepRequest, found: Sequence[Training], group: str, folder: Path
) -> dict[str, str]:
    """Save a view for each table; the addresses by table.

    Args:
        request: the tables.
        found: their distinct trainings.
        group: what their runs have in common on the dashboard.
        folder: of the report.

    Raises:
        UserError: this user is not online, or W&B does not let them in.
    """
    logger = _logger(found)
    try:
        import wandb
        import wandb_workspaces.workspaces as ws
    except ImportError:
        raise UserError('views want another package: pip install ".[dashboards]"') from None
    file = folder / SAVED
    known: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
    try:
        entity = logger.entity or wandb.Api().default_entity
        for name, table in request.tables.items():
            mine = [t for t in found if any(use.table == name for use in t.uses)]
            if not mine:
                continue  # none of its rows can be run
            view = ws.Workspace(
                entity=str(entity),
                project=str(logger.project),
                **_content(ws, table, name, mine, group),
            )
            if name in known:
                before = ws.Workspace.from_url(known[name])
                before.sections, before.runset_settings = view.sections, view.runset_settings
                view = before
            known[name] = str(view.save().url)
            write_json(file, known)
    except (wandb.Error, ValueError) as error:
        raise UserError(f"W&B: {error}") from None
    return {name: known[name] for name in request.tables if name in known}


def _logger(found: Sequence[Training]) -> LoggerConfig:
    """Of the trainings, if it is W&B and the user is there."""
    logger = found[0].config.logger if found else None
    if logger is None or logger.name != "wandb":
        raise UserError("views are of runs on W&B: they want logger=wandb.")
    if wandb_mode(logger.mode) != "online":
        raise UserError(
            "views are saved at W&B, and this user is offline. After `wandb login`, send the runs "
            "with `wandb sync RUNS/*/wandb/offline-run-*`, and call this again."
        )
    return logger


def _content(
    ws: Any, table: Table, name: str, mine: Sequence[Training], group: str
) -> dict[str, Any]:
    """Name, rows, columns and panels of a table's view."""
    ways = _evaluations(mine, name)
    scores = [f"{way}/{score}" for way in ways for score in table.scores]
    of_pixels = "mIoU" in table.scores
    bounds = [f"{way}/boundary_IoU" for way in ways if of_pixels]
    cost = f"{ways[0]}/multiply_adds"
    differing = [f"config:{_nested(key)}" for key in _differing(mine)]
    return {
        "name": f"{table.title} ({group})",
        "runset_settings": ws.RunsetSettings(
            filters=[ws.Metric("Group") == group, ws.Tags().isin([table_tag(name)])],
            order=[ws.Ordering(ws.Metric("CreatedTimestamp"))],
            pinned_columns=[
                "run:displayName",
                *differing,
                *(f"summary:{key}" for key in (*scores, *bounds, cost)),
                "tags:__ALL__",
            ],
        ),
        "sections": _sections(ws, scores, cost, table.scores[0]),
    }


def _sections(ws: Any, scores: Sequence[str], cost: str, main: str) -> list[Any]:
    """The panels: scores, accuracy over cost, curves of the training, pictures; ``main`` is the
    score that the training follows."""
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
            wr.LinePlot(x="trainer/global_step", y=[key]) for key in ("train/loss", f"val/{main}")
        ],
        "Pictures": [wr.MediaBrowser(media_keys=["sheet"], num_columns=2)],
    }
    return [ws.Section(name=name, is_open=True, panels=found) for name, found in panels.items()]


def _evaluations(mine: Sequence[Training], name: str) -> list[str]:
    """The keys of what the table's rows are scored by."""
    found = []
    for training in mine:
        config = training.config
        for use in training.uses:
            if use.table == name:
                way = resolve_strategy_name(config, use.strategy)
                split = use.split or config.data.val_split
                made = evaluation_name(split, Path("weights.safetensors"), way)
                found.append(evaluation_key(made))
    return list(dict.fromkeys(found))


def _differing(mine: Sequence[Training]) -> list[str]:
    """The keys by which the table's runs are told apart."""
    flat: list[Mapping[str, Any]] = [flat_result_settings(training.config) for training in mine]
    keys = dict.fromkeys(key for values in flat for key in values)
    return [k for k in keys if any(values.get(k) != flat[0].get(k) for values in flat)]


def _nested(key: str) -> str:
    """A dotted key as W&B has it, which wraps the values of a config."""
    first, _, rest = key.partition(".")
    return f"{first}.value.{rest}" if rest else f"{first}.value"
