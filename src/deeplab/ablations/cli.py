"""Command line of ``deeplab ablations plan | report | views``.

This is no Hydra application, because one command composes many configs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from deeplab.config.overrides import to_hydra_override
from deeplab.utils.constants import CONFIG_FILE
from deeplab.utils.errors import UserError
from deeplab.utils.program import as_typed, command
from deeplab.utils.text import print_folded

HELP = """Plan and report ablation tables of the paper. To run the tables, use deeplab train:

  deeplab train -m ablation=table1,table2 preset=quick num_seeds=3

plan prints the rows, the state of their runs, and the remaining work in multiply-adds, disk space
and, with measure_speed=true, hours:

  deeplab ablations plan                                all tables with preset=quick
  deeplab ablations plan ablation=table2 preset=paper   one table on VOC
  deeplab ablations plan measure_speed=true             and how long it takes on this machine

report writes the results as HTML, Markdown, CSV, LaTeX and figures:

  deeplab ablations report                              the latest sweep again
  deeplab ablations report ablation=table1,table2 num_seeds=3
                                                              these tables
  deeplab ablations report decoder=full,naive seed=0,1  variants, as after deeplab train -m

views saves a view of each table on W&B:

  deeplab ablations views ablation=table2

Keys:

ablation=NAME,...   tables: files in conf/ablation, paths of your own files, or all of the paper's
preset=NAME         settings of all rows: a file in conf/preset or a path of your own file;
                    quick (drawn scenes, minutes on a CPU), voc_small (VOC, hours on a CPU),
                    gpu_hour, gpu_day and gpu_week (VOC with weights that are downloaded),
                    paper (VOC, for GPUs) or none (as the table says); without it, the one that
                    the tables name
num_seeds=N         number of runs for each row, with seeds 0, ..., N-1 (default: 1)
seed=0,1,...        seeds of the runs for each row, instead of num_seeds
data_roots.NAME=FOLDER
                    folder of one data set, for tables that use several, such as
                    data_roots.voc=... data_roots.coco=...
external_weights.NAME=FILE
                    file of weights that a table needs; plan prints the names
runs_dir=FOLDER     folder of all runs (default: runs)
measure_speed=true  plan: measure training steps on random images, some seconds for each network
backbone.pretrained=null
                    random initial weights, where preset=paper uses ImageNet weights

Any other KEY=VALUE is an override of deeplab train for all rows, such as stage.max_steps=100 or
data.root=FOLDER.
"""


def run_ablations(arguments: Sequence[str]) -> None:
    """Run the script; raises UserError for a user's mistake."""
    kept = [argument for argument in arguments if argument not in ("-m", "--multirun")]
    match [to_hydra_override(argument) for argument in kept]:
        case words if not words or words[0] == "help" or {"--help", "-h"} & {*words}:
            print_folded(as_typed(HELP).rstrip())
        case ["plan", *rest]:
            with _say_all_tables(rest):
                _plan(rest)
        case ["report", *rest]:
            with _say_all_tables(rest):
                _report(rest)
        case ["views", *rest]:
            from deeplab.ablations.run_tables import save_table_views

            _split_arguments(rest, ())
            save_table_views(_with_tables(rest))
        case [command, *_]:
            raise UserError(f"{command}: no such command. Commands: plan, report, views.")


@contextmanager
def _say_all_tables(arguments: Sequence[str]) -> Iterator[None]:
    """Say in an error of a table that it is about all of them, since none was named."""
    try:
        yield
    except UserError as error:
        if not str(error).startswith("ablation/") or _names_tables(arguments):
            raise
        raise UserError(
            f"{error} (This is about all tables, since the command names neither ablation=... nor "
            "several values of a key.)"
        ) from None


def _plan(arguments: Sequence[str]) -> None:
    from deeplab.ablations.distinct_jobs import collect_jobs
    from deeplab.ablations.print_plan import print_plan
    from deeplab.ablations.run_index import known_runs, make_fingerprint_lookup, make_run_finder
    from deeplab.ablations.run_tables import runs_root
    from deeplab.ablations.sweep_request import parse_request
    from deeplab.config.command_line import override_values
    from deeplab.config.parsing import validate
    from deeplab.config.schema.scripts import PlanConfig
    from deeplab.tracking.console import silence_library_messages
    from deeplab.training.compose_config import compose_seeds

    options, rest = _split_arguments(arguments, ("measure_speed",))
    settings = validate(PlanConfig, override_values(options))
    request = parse_request(_with_tables(rest))
    jobs = collect_jobs(request, partial(compose_seeds, download=False))
    runs = known_runs(runs_root(request, jobs))
    find_run = make_run_finder(runs, make_fingerprint_lookup(), chosen=True)
    find_stale_run = make_run_finder(runs, any_version=True)
    silence_library_messages()
    print_plan(request, jobs, find_run, find_stale_run, measure_speed=settings.measure_speed)


def _report(arguments: Sequence[str]) -> None:
    from deeplab.ablations.run_tables import last_request, report_tables
    from deeplab.config.command_line import override_values
    from deeplab.config.parsing import validate
    from deeplab.config.schema.scripts import ReportConfig

    location, changes = _split_arguments(arguments, ("runs_dir",))
    root = validate(ReportConfig, override_values(location)).runs_dir
    if not any(Path(root).expanduser().glob(f"*/{CONFIG_FILE}")):
        raise UserError(
            f"runs_dir={root}: no run in this folder. Set runs_dir to the folder of all runs, or "
            f"run the tables first: {command('train')} -m ablation=..."
        )
    latest = [] if changes else last_request(root)
    report_tables(latest or _with_tables(arguments))


def _split_arguments(arguments: Sequence[str], keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the command's own arguments and all others."""
    for argument in arguments:
        if "=" not in argument:
            raise UserError(f"{argument}: cannot be read as key=value. Add a key.")
    own = [argument for argument in arguments if argument.partition("=")[0] in keys]
    return own, [argument for argument in arguments if argument not in own]


def _with_tables(arguments: Sequence[str]) -> list[str]:
    """Return the arguments, which stand for all tables if they name none and no variants."""
    return [*arguments] if _names_tables(arguments) else ["ablation=all", *arguments]


def _names_tables(arguments: Sequence[str]) -> bool:
    """Return True if a command names tables, or variants by several values of a key."""
    from deeplab.ablations.sweep_request import sweeps_over_variants

    named = any(argument.startswith("ablation=") for argument in arguments)
    return named or sweeps_over_variants(arguments)
