"""Command line of ``deeplab benchmark [PART]``."""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeplab.utils.errors import UserError, script_errors
from deeplab.utils.program import command

if TYPE_CHECKING:
    from deeplab.tools.benchmarks.timing import Comparison

DEFAULT_REPEATS = {
    "loss": 7,
    "atrous": 7,
    "train": 3,
    "settings": 2,
    "operations": 3,
    "pipeline": 7,
    "loading": 3,
    "strategies": 3,
    "export": 7,
    "startup": 7,
    "learning": 2,
}
"""Number of repeats of each part."""

PARTS = tuple(DEFAULT_REPEATS)

WITH_DATA = ("learning",)
"""Parts that need a data set, and are therefore measured only if they are named."""


class Parser(argparse.ArgumentParser):
    """Parser whose errors have the form of the other scripts'."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"{message}. See {command('benchmark')} --help.")


def run_benchmark(arguments: Sequence[str]) -> None:
    """Run benchmarks; a user's mistake ends them with a message and status 2."""
    parser = Parser(
        prog=command("benchmark"),
        description="Measure parts of the project against the obvious alternatives, both sides in "
        "one run, and print ratios.",
    )
    parser.add_argument(
        "part", nargs="?", choices=PARTS, help="default: all but learning, which needs data"
    )
    repeats = ", ".join(f"{part} {number}" for part, number in DEFAULT_REPEATS.items())
    parser.add_argument(
        "--repeats",
        type=num_repeats,
        help=f"number of repeats, 1 to 1000 (default: {repeats}); for learning its seeds",
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="FOLDER",
        help="where to write results.json and results.md after each part; parts that are there are "
        "not measured again",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="for learning: settings of the training, such as data.root=FOLDER",
    )
    with script_errors():
        measure(parser.parse_intermixed_args(arguments))


def num_repeats(text: str) -> int:
    """Return the number of repeats."""
    if not re.fullmatch("[1-9][0-9]{0,2}|1000", text):
        raise argparse.ArgumentTypeError(f"{text}: expected an integer from 1 to 1000")
    return int(text)


def measure(arguments: argparse.Namespace) -> None:
    """Measure one part or all, and print a table of all ratios."""
    part, overrides = arguments.part, arguments.overrides
    if overrides and part not in WITH_DATA:
        raise UserError(f"{overrides[0]}: only benchmark learning has settings. Leave it out.")
    from deeplab.tools.benchmarks.machine import measure_machine
    from deeplab.tools.benchmarks.results import Results
    from deeplab.tracking.provenance import provenance

    results = Results(measure_machine(provenance().commit), arguments.output_dir)
    print(results.machine, flush=True)
    parts = [part] if part else [name for name in PARTS if name not in WITH_DATA]
    for name in parts:
        if name in results.parts:
            print(f"{name}: measured before")
            continue
        if not part:
            print(f"\n{name}", flush=True)
        try:
            comparisons = _function(name)(
                repeats=arguments.repeats or DEFAULT_REPEATS[name],
                **({"overrides": overrides} if name in WITH_DATA else {}),
            )
        except UserError as error:
            if part:
                raise
            print(f"Left out. {error}")  # its extra is not installed
            continue
        results.add(name, tuple(comparisons or ()))
    if not part:
        print(f"\n{results.table().as_text()}")
    if arguments.output_dir:
        print(f"Written to {arguments.output_dir}")


def _function(part: str) -> "Callable[..., list[Comparison] | None]":
    """Return the function of a part; its module, with what it imports, is imported now."""
    match part:
        case "loss":
            from deeplab.tools.benchmarks.loss import compare_losses

            return compare_losses
        case "atrous":
            from deeplab.tools.benchmarks.atrous import compare_atrous

            return compare_atrous
        case "train":
            from deeplab.tools.benchmarks.training_step import compare_training

            return compare_training
        case "settings":
            from deeplab.tools.benchmarks.auto_settings import compare_settings

            return compare_settings
        case "operations":
            from deeplab.tools.benchmarks.operations import print_operations

            return print_operations
        case "pipeline":
            from deeplab.tools.benchmarks.pipeline import compare_pipelines

            return compare_pipelines
        case "loading":
            from deeplab.tools.benchmarks.loading import compare_loading

            return compare_loading
        case "strategies":
            from deeplab.tools.benchmarks.strategies import compare_strategies

            return compare_strategies
        case "export":
            from deeplab.tools.benchmarks.exported import compare_exports

            return compare_exports
        case "startup":
            from deeplab.tools.benchmarks.startup import compare_startup

            return compare_startup
    from deeplab.tools.benchmarks.learning import compare_learning

    return compare_learning
