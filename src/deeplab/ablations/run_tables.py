"""Commands on tables: a sweep over their rows, the report, and views on W&B.

The tables are files, or made of the variants of a plain sweep.
"""

import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel, Field

from deeplab.ablations.distinct_jobs import Job, collect_jobs, describe_rows, with_scores
from deeplab.ablations.report.print_report import print_next_steps, print_sheets
from deeplab.ablations.report.write_report import write_report
from deeplab.ablations.run_index import known_runs, make_finder_of_jobs
from deeplab.ablations.sweep import (
    Check,
    JobError,
    Launch,
    LaunchedJob,
    job_group,
    job_tags,
    job_titles,
    one_of_each,
    run_jobs,
)
from deeplab.ablations.sweep_request import SweepRequest, parse_request
from deeplab.ablations.variants import SWEEPS, sweep_name
from deeplab.ablations.wandb_views import save_views
from deeplab.config.overrides import quote_value
from deeplab.config.parsing import PLACEHOLDERS, validate
from deeplab.config.schema.run import RunConfig
from deeplab.evaluation.wandb_logging import label_run
from deeplab.tracking.run_identity import settings_hash
from deeplab.tracking.wandb_run import OFFLINE_RUNS, leave_agent
from deeplab.training.compose_config import compose_seeds
from deeplab.utils.constants import PAGE_FILE
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_json
from deeplab.utils.links import check_inside
from deeplab.utils.parallel import is_first_process
from deeplab.utils.reading import read_typed
from deeplab.utils.settings import Text, find_holder, to_dict

compose_offline = partial(compose_seeds, download=False, trusted=False)
"""Composition for commands that train nothing and therefore download and import nothing."""

REPORT_FOLDERS = ("ablations", SWEEPS)
"""Folders of the reports on tables and on plain sweeps, in the folder of the runs."""

NO_PRESET = "none"
"""Preset without settings, for tables of one's own."""

REQUEST_FILE = "request.json"
"""File in the report's folder with the arguments of the report."""


class ReportRequest(BaseModel):
    """Content of ``request.json``."""

    arguments: list[Text] = Field(max_length=200)


def run_tables(arguments: Sequence[str], check: Check, launch: Launch) -> None:
    """Run the jobs that ``arguments`` request, then report; exit with a failed job's status."""
    request = parse_request(arguments)
    jobs = collect_jobs(request, compose_seeds)
    request = with_scores(request, jobs)  # checks that the variants have a score in common
    typed = any(argument.startswith(("preset=", "+preset=")) for argument in arguments)
    if request.preset_name and not typed:
        print(f"Preset {request.preset_name}: {request.preset.title} (preset=none: without it)")
    root, group = runs_root(request, jobs), _group(request, jobs)
    if any(job.config.trainer.fast_dev_run for job in jobs):
        _test_jobs(one_of_each(jobs), check, launch)
        return
    folder = report_folder(request, jobs, root)
    uses_wandb = any(job.config.logger.name == "wandb" for job in jobs)
    if uses_wandb and len(jobs) > 1 and (wandb_id := os.environ.get("WANDB_RUN_ID")):
        print(f"W&B:    WANDB_RUN_ID={wandb_id} is for one run; each of these gets its own id")
        leave_agent()

    def record_and_launch(launched: Sequence[LaunchedJob]) -> Sequence[JobError | None]:
        if is_first_process():  # a report without arguments finds a sweep that is interrupted
            write_json(folder / REQUEST_FILE, {"arguments": [*arguments]})
        return launch(launched)

    status = run_jobs(jobs, runs=root, group=group, check=check, launch=record_and_launch)
    if not is_first_process():  # of several that srun has started
        sys.exit(status)
    _label_runs(jobs, root, group)
    _report(request, jobs, arguments, chosen=True)
    offline = f"*/wandb/{OFFLINE_RUNS}"
    if uses_wandb and any(Path(root).expanduser().glob(offline)):
        print(f"W&B:    offline; upload the runs with: wandb sync {root}/{offline}")
    if status:
        sys.exit(status)


def _test_jobs(jobs: Sequence[Job], check: Check, launch: Launch) -> None:
    """Launch the tests of jobs (``trainer.fast_dev_run``), which have no results to report."""
    for job in jobs:
        check(job.overrides)
    titles = job_titles(jobs)
    errors = launch(
        [
            LaunchedJob(job.overrides, number=number, total=len(jobs), title=titles[job.key])
            for number, job in enumerate(jobs, start=1)
        ]
    )
    failures = [(describe_rows(j), e.status) for j, e in zip(jobs, errors, strict=True) if e]
    failed = [rows for rows, _ in failures]
    print(f"\nTested {len(jobs)} runs" + (f". Failed: {'; '.join(failed)}" if failed else ""))
    if failures:
        sys.exit(failures[0][1])


def _group(request: SweepRequest, jobs: Sequence[Job]) -> str:
    """Return the group of the runs on a dashboard.

    A run may belong to several tables but to one group only, so tags tell the tables apart.
    """
    if request.of_variants:
        return f"sweep-{_sweep_name(request, jobs)}"
    return f"ablation-{_tables_name(request)}"


def _tables_name(request: SweepRequest) -> str:
    """Return the name of what is reported on: the preset or, without one, the tables."""
    name = Path(request.preset_name).stem
    return "-".join(request.tables) if name == NO_PRESET else name


def _sweep_name(request: SweepRequest, jobs: Sequence[Job]) -> str:
    """Return the name of a plain sweep: its keys, and a hash of its variants and strategies.

    The seeds are no part of it, so that more of them extend the same table.
    """
    columns = next(iter(request.tables.values())).columns
    variants = {
        e.variant: (settings_hash(_as_typed(job.config)), job.initial_weights)
        for job in reversed(jobs)
        for e in job.row_evaluations
    }
    rows = [(variant, *variants[variant]) for variant in sorted(variants, key=str)]
    return sweep_name(columns, json.dumps([rows, sorted(request.tables)]))


def _as_typed(config: RunConfig) -> RunConfig:
    """Return a config with one seed, and without the values that a training chooses.

    A report, which reads no image, does not know them.
    """
    values = to_dict(config) | {"seed": 0}
    for key in config.automatic:
        holder, name = find_holder(values, key)
        holder[name] = PLACEHOLDERS[key]
    return validate(type(config), values)


def _label_runs(jobs: Sequence[Job], root: str, group: str) -> None:
    """Add group and tags to finished runs that were started by hand or for other tables."""
    find_run = make_finder_of_jobs(known_runs(root), jobs, chosen=True)
    for job in jobs:
        run = find_run(job)
        if run and run.folder.finished and run.config.logger.name == "wandb":
            label_run(run.config.logger, run.folder, job_group(job, group), job_tags(job))


def report_tables(arguments: Sequence[str]) -> Path:
    """Write the report on the tables that ``arguments`` request, print its path and return it."""
    request = parse_request(arguments)
    jobs = collect_jobs(request, compose_offline)
    return _report(with_scores(request, jobs), jobs, arguments, chosen=False)


def _report(
    request: SweepRequest, jobs: Sequence[Job], arguments: Sequence[str], *, chosen: bool
) -> Path:
    root = runs_root(request, jobs)
    folder = report_folder(request, jobs, root)
    runs = known_runs(root)
    find_run = make_finder_of_jobs(runs, jobs, chosen=chosen)
    find_stale_run = make_finder_of_jobs(runs, jobs, chosen=chosen, any_version=True)
    sheets = write_report(request, jobs, find_run, find_stale_run, folder)
    write_json(folder / REQUEST_FILE, {"arguments": [*arguments]})
    print_sheets(sheets, of_variants=request.of_variants)
    page = folder / PAGE_FILE
    print(f"\nReport: {page} (same folder: report.md and, for each table, .csv, .tex and figures)")
    print_next_steps(request, jobs, find_run)
    return page


def save_table_views(arguments: Sequence[str]) -> None:
    """Save a view of each table on the dashboard and print the addresses."""
    request = parse_request(arguments)
    jobs = collect_jobs(request, compose_offline)
    request = with_scores(request, jobs)
    folder = report_folder(request, jobs, runs_root(request, jobs))
    for name, address in save_views(request, jobs, _group(request, jobs), folder).items():
        print(f"{name}  {address}")


def runs_root(request: SweepRequest, jobs: Sequence[Job]) -> str:
    """Return the parent folder of the run folders."""
    config = jobs[0].config if jobs else compose_offline(request.overrides, [None])[0]
    return config.runs_dir


def report_folder(request: SweepRequest, jobs: Sequence[Job], root: str) -> Path:
    """Return the folder of the report on a preset's tables or on a plain sweep.

    Raises:
        UserError: it is a link that leads out of the folder of the runs.
    """
    tables, sweeps = REPORT_FOLDERS
    names = (tables, _tables_name(request))
    if request.of_variants:
        names = (sweeps, _sweep_name(request, jobs))
    folder = Path(root).expanduser().joinpath(*names)
    check_inside(folder, Path(root).expanduser())
    return folder


def last_request(root: str) -> list[str]:
    """Return the arguments of the latest report in a folder of runs, or an empty list.

    The folder may come from others: nothing is interpolated, and the report stays in it.

    Raises:
        UserError: they are damaged, or have an interpolation.
    """
    folder = Path(root).expanduser()
    files = [f for kind in REPORT_FOLDERS for f in folder.glob(f"{kind}/*/{REQUEST_FILE}")]
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
