"""Command line of ``python src/ablations.py plan | report | views``.

This is no Hydra application, because one command composes many configs.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deeplab.config.hydra_app import to_sweep_override
from deeplab.utils.errors import UserError

HELP = """Plan and report the paper's tables, which train.py runs as sweeps.

python src/ablations.py plan                                    all tables, preset=quick
python src/ablations.py plan ablation=table2 preset=paper       one table on VOC
python src/ablations.py report                                  the latest sweep's report again
python src/ablations.py report ablation=table1,table2 num_seeds=3   a report on these tables
python src/ablations.py report runs='runs/*' rows=decoder.low_level_channels
                                                                a report on your own grid
python src/ablations.py views ablation=table2                   a saved view of each table on W&B

Run them with: python src/train.py -m ablation=table1,table2 preset=quick num_seeds=3

ablation=NAME,...   files in conf/ablation, paths of your own files, or all
preset=NAME         file in conf/preset, or a path: quick (drawn scenes, minutes), paper (VOC)
num_seeds=N, seed=0,1   number of trainings for each row, or their seeds
data_roots.NAME=FOLDER   folders of the data sets, if tables use several: data_roots.voc=... data_roots.coco=...
external_weights.NAME=FILE  weights that a table needs
probe=false         plan: skip the speed measurement on this machine
rows=KEY,...        report: config keys that define the rows
runs=PATTERN        report with rows: run folders; without rows: the folder of all runs
output=FOLDER       report with rows: folder of the report
backbone.pretrained=null  start from random weights where preset=paper row_evaluations ImageNet weights
Anything else is an override of train.py for all rows, such as stage.max_steps=100 or data.root=...
"""


def run_ablations(arguments: Sequence[str]) -> None:
    """Run the script; a user's mistake ends it with a message and status 2."""
    try:
        match [to_sweep_override(argument) for argument in arguments]:
            case ["plan", *rest]:
                _plan(rest)
            case ["report", *rest]:
                _report(rest)
            case ["views", *rest]:
                from deeplab.ablations.run_tables import save_table_views

                _split_arguments(rest, ())
                save_table_views(_with_tables(rest))
            case [] | ["--help" | "-h" | "help", *_]:
                print(HELP, end="")
            case [command, *_]:
                raise UserError(f"{command}: no such command. Commands: plan, report, views.")
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


def _plan(arguments: Sequence[str]) -> None:
    from deeplab.ablations.jobs import collect_jobs
    from deeplab.ablations.plan import print_plan
    from deeplab.ablations.request import parse_request
    from deeplab.ablations.run_index import fingerprint_reader, known_runs, run_finder
    from deeplab.ablations.run_tables import runs_root
    from deeplab.training.compose import compose_train

    options, rest = _split_arguments(arguments, ("probe",))
    if options.get("probe", "true") not in ("true", "false"):
        raise UserError(f"probe={options['probe']}: expected true or false.")
    request = parse_request(_with_tables(rest))
    jobs = collect_jobs(request, partial(compose_train, download=False))
    runs = known_runs(runs_root(request, jobs))
    find_run, find_stale_run = run_finder(runs, fingerprint_reader()), run_finder(runs)
    print_plan(request, jobs, find_run, find_stale_run, probe=options.get("probe") != "false")


def _report(arguments: Sequence[str]) -> None:
    options, rest = _split_arguments(arguments, ("rows", "runs", "output"))
    if "rows" in options:
        if rest:
            raise UserError(f"{rest[0]}: with rows=..., only runs=... and output=... are allowed.")
        _report_grid(options)
        return
    if "output" in options:
        raise UserError(
            f"output={options['output']}: allowed only with rows=.... A report on tables is "
            "written next to the runs."
        )
    from deeplab.ablations.run_tables import last_request, report_tables

    latest = [] if rest else last_request(options.get("runs", "runs"))
    report_tables(latest or _with_tables(arguments))


def _report_grid(options: dict[str, str]) -> None:
    from deeplab.ablations.report.write_report import write_grid_report
    from deeplab.ablations.run_index import known_runs
    from deeplab.ablations.run_tables import print_report_path

    pattern = Path(options.get("runs", "runs/*")).expanduser()
    folders = {path.resolve() for path in Path(pattern.anchor or ".").glob(_relative(pattern))}
    roots = {folder.parent for folder in folders}
    runs = [r for root in roots for r in known_runs(root) if r.folder.path.resolve() in folders]
    if not runs:
        raise UserError(
            f"runs={pattern}: no run folders match. Set runs to a pattern such as 'runs/*'."
        )
    keys = [key for key in options["rows"].strip("[]").split(",") if key]
    target = Path(options.get("output", "runs/ablations/" + "-".join(keys))).expanduser()
    print_report_path(write_grid_report(runs, keys, target))


def _relative(pattern: Path) -> str:
    return str(pattern.relative_to(pattern.anchor))


def _split_arguments(
    arguments: Sequence[str], keys: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the command's own arguments, by key, and all others."""
    for argument in arguments:
        if "=" not in argument:
            raise UserError(f"{argument}: cannot be read as key=value. Add a key.")
    pairs = [argument.split("=", 1) for argument in arguments]
    options = {key: value for key, value in pairs if key in keys}
    return options, [f"{key}={value}" for key, value in pairs if key not in keys]


def _with_tables(arguments: Sequence[str]) -> list[str]:
    has_tables = any(argument.startswith("ablation=") for argument in arguments)
    return list(arguments) if has_tables else ["ablation=all", *arguments]
