"""A sweep over the rows of tables from start to end, and the report on it."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deeplab.ablations.jobs import SweepRequest, Training, trainings
from deeplab.ablations.report.write_report import write_report
from deeplab.ablations.request import parse_request
from deeplab.ablations.run_index import finder, known_runs
from deeplab.ablations.sweep import Check, Launch, run_trainings, tags
from deeplab.ablations.wandb_views import save_views
from deeplab.evaluation.wandb_logging import label_run
from deeplab.training.compose import compose_train
from deeplab.utils.files import write_json

composed = partial(compose_train, download=False)
"""What is looked at, and not run, downloads nothing."""

REQUEST_FILE = "request.json"
"""In the report's folder: the arguments that it was made with."""


def run_tables(arguments: Sequence[str], check: Check, launch: Launch) -> None:
    """Run what ``arguments`` ask for, then report; ends with status 1 if a training has failed."""
    request = parse_request(arguments)
    found = trainings(request, compose_train)
    root, group = runs_root(request, found), _group(request)
    whole = run_trainings(found, runs=root, group=group, check=check, launch=launch)
    _label(found, root, group)
    report(arguments)
    if not whole:
        sys.exit(1)


def _group(request: SweepRequest) -> str:
    """What the runs have in common on a dashboard. A run may be in several tables, but in one group
    only: tables are told apart by tags."""
    return f"ablation-{Path(request.preset_name).stem}"


def _label(found: Sequence[Training], root: str, group: str) -> None:
    """Let a dashboard find those that were there already: launched by hand, or for other tables."""
    find = finder(known_runs(root))
    for training in found:
        run = find(training)
        if run and run.folder.finished and run.config.logger.name == "wandb":
            label_run(run.config.logger, run.folder, group, tags(training))


def report(arguments: Sequence[str]) -> Path:
    """Write the report on what is there of what ``arguments`` ask for, and say where it is."""
    request = parse_request(arguments)
    found = trainings(request, composed)
    root = runs_root(request, found)
    folder = report_folder(request, root)
    page = write_report(request, found, finder(known_runs(root)), folder)
    write_json(folder / REQUEST_FILE, {"arguments": list(arguments)})
    say_where(page)
    return page


def say_where(page: Path) -> None:
    """Name the files of a report."""
    print(f"\nReport: {page}, report.md and, for each table, .csv, .tex and pictures beside it")


def views(arguments: Sequence[str]) -> None:
    """Save a view of each table on the dashboard, and say where they are."""
    request = parse_request(arguments)
    found = trainings(request, composed)
    folder = report_folder(request, runs_root(request, found))
    for name, address in save_views(request, found, _group(request), folder).items():
        print(f"{name}  {address}")


def runs_root(request: SweepRequest, found: Sequence[Training]) -> str:
    """The folder of the run folders."""
    return found[0].config.runs_dir if found else composed(request.overrides).runs_dir


def report_folder(request: SweepRequest, root: str) -> Path:
    """Where the report on a preset's tables is."""
    return Path(root).expanduser() / "ablations" / Path(request.preset_name).stem


def last_request(root: str) -> list[str]:
    """The arguments of the latest report, none if there is none."""
    files = Path(root).expanduser().glob(f"ablations/*/{REQUEST_FILE}")
    latest = max(files, key=lambda path: path.stat().st_mtime, default=None)
    return list(json.loads(latest.read_text())["arguments"]) if latest else []
