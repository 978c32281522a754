"""Commands on tables: a sweep over their rows, the report, and views on W&B."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel, Field

from deeplab.ablations.distinct_jobs import Job, collect_jobs
from deeplab.ablations.report.write_report import write_report
from deeplab.ablations.run_index import known_runs, make_run_finder
from deeplab.ablations.sweep import Check, Launch, job_tags, run_jobs
from deeplab.ablations.sweep_request import SweepRequest, parse_request
from deeplab.ablations.wandb_views import save_views
from deeplab.config.hydra_app import quote_value
from deeplab.evaluation.wandb_logging import label_run
from deeplab.tracking.run_folder import check_inside
from deeplab.training.compose_config import compose_train
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_json
from deeplab.utils.reading import read_typed
from deeplab.utils.settings import Text

compose_offline = partial(compose_train, download=False)
"""Composition for commands that train nothing and therefore download nothing."""

REQUEST_FILE = "request.json"
"""File in the report's folder with the arguments of the report."""


class ReportRequest(BaseModel):
    """Content of this file."""

    arguments: list[Text] = Field(max_length=200)


def run_tables(arguments: Sequence[str], check: Check, launch: Launch) -> None:
    """Run the jobs that ``arguments`` request, then report; exit with status 1 if a job failed."""
    request = parse_request(arguments)
    jobs = collect_jobs(request, compose_train)
    root, group = runs_root(request, jobs), _group(request)
    succeeded = run_jobs(jobs, runs=root, group=group, check=check, launch=launch)
    _label_runs(jobs, root, group)
    report_tables(arguments)
    if not succeeded:
        sys.exit(1)


def _group(request: SweepRequest) -> str:
    """Return the group of the runs on a dashboard.

    A run may belong to several tables but to one group only, so tags tell the tables apart.
    """
    return f"ablation-{Path(request.preset_name).stem}"


def _label_runs(jobs: Sequence[Job], root: str, group: str) -> None:
    """Add group and tags to finished runs that were started by hand or for other tables."""
    find_run = make_run_finder(known_runs(root))
    for job in jobs:
        run = find_run(job)
        if run and run.folder.finished and run.config.logger.name == "wandb":
            label_run(run.config.logger, run.folder, group, job_tags(job))


def report_tables(arguments: Sequence[str]) -> Path:
    """Write the report on the tables that ``arguments`` request, print its path and return it."""
    request = parse_request(arguments)
    jobs = collect_jobs(request, compose_offline)
    root = runs_root(request, jobs)
    folder = report_folder(request, root)
    page = write_report(request, jobs, make_run_finder(known_runs(root)), folder)
    write_json(folder / REQUEST_FILE, ReportRequest(arguments=list(arguments)).model_dump())
    print_report_paths(page)
    return page


def print_report_paths(page: Path) -> None:
    """Print the path of a report and the names of its other files."""
    print(f"\nReport: {page} (same folder: report.md and, for each table, .csv, .tex and figures)")


def save_table_views(arguments: Sequence[str]) -> None:
    """Save a view of each table on the dashboard and print the addresses."""
    request = parse_request(arguments)
    jobs = collect_jobs(request, compose_offline)
    folder = report_folder(request, runs_root(request, jobs))
    for name, address in save_views(request, jobs, _group(request), folder).items():
        print(f"{name}  {address}")


def runs_root(request: SweepRequest, jobs: Sequence[Job]) -> str:
    """Return the parent folder of the run folders."""
    return jobs[0].config.runs_dir if jobs else compose_offline(request.overrides).runs_dir


def report_folder(request: SweepRequest, root: str) -> Path:
    """Return the folder of the report on a preset's tables.

    Raises:
        UserError: it is a link that leads out of the folder of the runs.
    """
    folder = Path(root).expanduser() / "ablations" / Path(request.preset_name).stem
    check_inside(folder, Path(root).expanduser())
    return folder


def last_request(root: str) -> list[str]:
    """Return the arguments of the latest report in a folder of runs, or an empty list.

    The folder may come from others: nothing is interpolated, and the report stays in it.

    Raises:
        UserError: they are damaged, or have an interpolation.
    """
    files = Path(root).expanduser().glob(f"ablations/*/{REQUEST_FILE}")
    latest = max(files, key=lambda path: path.stat().st_mtime, default=None)
    if latest is None:
        return []
    hint = "Delete it, or name the tables: ablation=..."
    arguments = read_typed(latest, ReportRequest, hint).arguments
    try:
        request = parse_request(arguments)
    except UserError as error:
        raise UserError(f"{latest}: {error} {hint}") from None
    texts = [*arguments, *(t.model_dump_json() for t in (*request.tables.values(), request.preset))]
    if any("${" in text for text in texts):
        raise UserError(f"{latest}: it or its tables have a value of the form ${{...}}. {hint}")
    kept = [argument for argument in arguments if not argument.startswith("runs_dir=")]
    return [*kept, f"runs_dir={quote_value(root)}"]
