"""List of the runs in a folder: state, score and training time of each."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from deeplab.ablations.run_index import Run, known_runs
from deeplab.config.command_line import override_values
from deeplab.config.overrides import to_hydra_override
from deeplab.config.parsing import validate
from deeplab.config.schema.scripts import ReportConfig
from deeplab.tracking.run_record import read_record
from deeplab.utils.errors import UserError
from deeplab.utils.program import as_typed, command
from deeplab.utils.reading import report_damage
from deeplab.utils.text import format_duration, print_folded
from deeplab.utils.text_table import Column, TextTable

HELP = """List the runs of a folder, the latest first.

  deeplab runs                       those in runs/
  deeplab runs runs_dir=FOLDER       those in another folder

data is the folder of the images, if the runs have several; score is the mIoU of a segmentation
network, or the top-1 error of a classifier, of the last validation; time is that of the training,
and started when it was started or resumed last.
"""

COLUMNS = (
    Column("run"),
    Column("data"),
    Column("score", number=True),
    Column("steps", number=True, format="{:,}".format),
    Column("time", number=True, format=format_duration),
    Column("started"),
    Column("state"),
)


def run_list(arguments: Sequence[str]) -> None:
    """Print the runs that the arguments ask for; raises UserError for a user's mistake."""
    if {"--help", "-h", "help"} & {*arguments}:
        print_folded(as_typed(HELP).rstrip())
        return
    values = override_values([to_hydra_override(argument) for argument in arguments])
    list_runs(Path(validate(ReportConfig, values).runs_dir).expanduser())


def list_runs(root: Path) -> None:
    """Print a line for each run of a folder.

    Raises:
        UserError: there is no such folder, or it has no runs.
    """
    if not root.is_dir():
        raise UserError(f"runs_dir={root}: no such folder. Name the folder of your runs.")
    try:
        os.scandir(root).close()
    except PermissionError:  # it would look empty
        raise UserError(
            f"runs_dir={root}: this folder may not be read. Check its permissions."
        ) from None
    runs = known_runs(root)
    if not runs:
        raise UserError(f"runs_dir={root}: no runs in it. {command('train')} makes them.")
    data = [Path(getattr(run.config.data, "root", None) or "").name for run in runs]
    shown = data if len({*data}) > 1 else [None] * len(runs)
    rows = [(path, name, *rest) for (path, *rest), name in zip(map(_row, runs), shown, strict=True)]
    print(TextTable.from_values(COLUMNS, rows).without_empty_columns().as_text())
    if len([run for run in runs if run.folder.finished]) > 1:
        print(f"\n{command('compare')} runs=[RUN,RUN] puts evaluations side by side.")


def _row(run: Run) -> tuple[object, ...]:
    """Return the cells of a run; one that cannot be read says so."""
    path, started = str(run.folder.path), None
    try:
        with report_damage(run.folder.path, ""):
            sessions = read_record(run.folder).sessions
            if sessions and (time := sessions[-1].started):
                started = datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M")
            if result := run.result:
                score = result.format_main_score()
                return path, score, result.steps, result.seconds, started, run.state
            return path, None, None, None, started, run.progress
    except UserError as error:
        return path, None, None, None, started, f"cannot be read: {error}"
