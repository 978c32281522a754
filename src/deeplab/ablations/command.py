"""A sweep over the rows of tables from start to end, and the report on it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from deeplab.ablations.asked import read_asked
from deeplab.ablations.compose import compose_train
from deeplab.ablations.report.command import write_report
from deeplab.ablations.runs import finder, known_runs
from deeplab.ablations.sweep import Check, Launch, run_trainings
from deeplab.ablations.trainings import Asked, trainings
from deeplab.files import write_json

ASKED = "asked.json"
"""In the report's folder: the arguments that it was made with."""


def run_tables(arguments: Sequence[str], check: Check, launch: Launch) -> None:
    """Run what ``arguments`` ask for, then report; ends with status 1 if a training has failed."""
    asked = read_asked(arguments)
    found = trainings(asked, compose_train)
    root = found[0].config.runs if found else compose_train(asked.overrides).runs
    group = f"ablation-{asked.profile_name}"
    whole = run_trainings(found, runs=root, group=group, check=check, launch=launch)
    report(arguments)
    if not whole:
        sys.exit(1)


def report(arguments: Sequence[str]) -> Path:
    """Write the report on what is there of what ``arguments`` ask for, and say where it is."""
    asked = read_asked(arguments)
    found = trainings(asked, compose_train)
    root = compose_train(asked.overrides).runs
    folder = report_folder(asked, root)
    page = write_report(asked, found, finder(known_runs(root)), folder)
    write_json(folder / ASKED, {"arguments": list(arguments)})
    print(f"\nReport: {page}, report.md and, for each table, .csv, .tex and pictures beside it")
    return page


def report_folder(asked: Asked, root: str) -> Path:
    """Where the report on a profile's tables is."""
    return Path(root).expanduser() / "ablations" / asked.profile_name


def last_asked(root: str) -> list[str]:
    """The arguments of the latest report, none if there is none."""
    files = Path(root).expanduser().glob(f"ablations/*/{ASKED}")
    latest = max(files, key=lambda path: path.stat().st_mtime, default=None)
    return list(json.loads(latest.read_text())["arguments"]) if latest else []
