"""``python src/ablations.py plan | report | views``: no Hydra application, as it composes many."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deeplab.config.hydra_app import to_sweep_override
from deeplab.utils.errors import UserError

HELP = """Tables of the paper as sweeps: what is to be done for them, and what came out.

python src/ablations.py plan                                    all tables, preset=quick
python src/ablations.py plan ablation=table2 preset=paper      one table on VOC
python src/ablations.py report                                  the latest sweep's report anew
python src/ablations.py report ablation=table1,table2 num_seeds=3   of these tables
python src/ablations.py report runs='runs/*' rows=decoder.low_level_channels
                                                                of a grid of one's own
python src/ablations.py views ablation=table2                   a saved view on W&B of each table

Running them: python src/train.py -m ablation=table1,table2 preset=quick num_seeds=3

ablation=NAME,...   files of conf/ablation, or paths of your own; all
preset=NAME        files of conf/preset: quick (drawn scenes, minutes), paper (VOC)
num_seeds=N, seed=0,1   how often each row is trained
data_roots.NAME=FOLDER   where data sets are, where tables are of several: data_roots.voc=... data_roots.coco=...
external_weights.NAME=FILE  weights that a table asks for
probe=false         plan: without measuring how fast this machine is
rows=KEY,...        report: the keys by which runs are told apart
runs=PATTERN        report with rows: the run folders; else the folder of all runs
output=FOLDER       report with rows: where it goes
backbone.pretrained=null  from random weights, where preset=paper starts from ImageNet's
Anything else is an override of train.py for all rows, such as stage.max_steps=100 or data.root=...
"""


def run_ablations(arguments: Sequence[str]) -> None:
    """The script: a user's mistake ends it with a message and status 2."""
    try:
        match [to_sweep_override(argument) for argument in arguments]:
            case ["plan", *rest]:
                _plan(rest)
            case ["report", *rest]:
                _report(rest)
            case ["views", *rest]:
                from deeplab.ablations.run_tables import views

                _split(rest, ())
                views(_with_tables(rest))
            case [] | ["--help" | "-h" | "help", *_]:
                print(HELP, end="")
            case [other, *_]:
                raise UserError(
                    f"{other}: there is no such command; there are plan, report and views."
                )
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


def _plan(arguments: Sequence[str]) -> None:
    from deeplab.ablations.jobs import trainings
    from deeplab.ablations.plan import print_plan
    from deeplab.ablations.request import parse_request
    from deeplab.ablations.run_index import data_now, finder, known_runs
    from deeplab.ablations.run_tables import runs_root
    from deeplab.training.compose import compose_train

    own, rest = _split(arguments, ("probe",))
    if own.get("probe", "true") not in ("true", "false"):
        raise UserError(f"probe={own['probe']}: it is true or false.")
    request = parse_request(_with_tables(rest))
    found = trainings(request, partial(compose_train, download=False))
    runs = known_runs(runs_root(request, found))
    find, stale = finder(runs, data_now()), finder(runs)
    print_plan(request, found, find, stale, probe=own.get("probe") != "false")


def _report(arguments: Sequence[str]) -> None:
    own, rest = _split(arguments, ("rows", "runs", "output"))
    if "rows" in own:
        if rest:
            raise UserError(f"{rest[0]}: beside rows=... there are runs=... and output=...")
        _report_grid(own)
        return
    if "output" in own:
        raise UserError("output: it goes with rows=...; a report on tables is beside the runs.")
    from deeplab.ablations.run_tables import last_request, report

    latest = [] if rest else last_request(own.get("runs", "runs"))
    report(latest or _with_tables(arguments))


def _report_grid(own: dict[str, str]) -> None:
    from deeplab.ablations.report.write_report import write_grid_report
    from deeplab.ablations.run_index import known_runs
    from deeplab.ablations.run_tables import say_where

    pattern = Path(own.get("runs", "runs/*")).expanduser()
    folders = {path.resolve() for path in Path(pattern.anchor or ".").glob(_relative(pattern))}
    roots = {folder.parent for folder in folders}
    runs = [r for root in roots for r in known_runs(root) if r.folder.path.resolve() in folders]
    if not runs:
        raise UserError(f"runs={pattern}: no run folders there.")
    keys = [key for key in own["rows"].strip("[]").split(",") if key]
    target = Path(own.get("output", "runs/ablations/" + "-".join(keys))).expanduser()
    say_where(write_grid_report(runs, keys, target))


def _relative(pattern: Path) -> str:
    return str(pattern.relative_to(pattern.anchor))


def _split(arguments: Sequence[str], keys: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Arguments of the command itself, by key, and the others."""
    for argument in arguments:
        if "=" not in argument:
            raise UserError(f"{argument}: this cannot be read as key=value.")
    pairs = [argument.split("=", 1) for argument in arguments]
    own = {key: value for key, value in pairs if key in keys}
    return own, [f"{key}={value}" for key, value in pairs if key not in keys]


def _with_tables(arguments: Sequence[str]) -> list[str]:
    named = any(argument.startswith("ablation=") for argument in arguments)
    return list(arguments) if named else ["ablation=all", *arguments]
