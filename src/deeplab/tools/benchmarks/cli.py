"""Command line of ``deeplab benchmark PART``."""

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from deeplab.utils.errors import UserError, script_errors
from deeplab.utils.program import command

PARTS = ("loss", "atrous", "pipeline", "strategies", "export", "learning")

DEFAULT_REPEATS = {"strategies": 3, "learning": 2}
"""Number of repeats of the parts that take long."""


class Parser(argparse.ArgumentParser):
    """Parser whose errors have the form of the other scripts'."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"{message}. See {command('benchmark')} --help.")


def run_benchmark(arguments: Sequence[str]) -> None:
    """Run one benchmark; a user's mistake ends it with a message and status 2."""
    parser = Parser(
        prog=command("benchmark"),
        description="Measure a part of the project against an alternative and print ratios.",
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument(
        "--repeats",
        type=num_repeats,
        help="number of repeats, 1 to 1000 (default: 7; strategies: 3; learning: 2, its seeds)",
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
    """Run the benchmark of a part."""
    part, overrides = arguments.part, arguments.overrides
    repeats = arguments.repeats or DEFAULT_REPEATS.get(part, 7)
    if overrides and part != "learning":
        raise UserError(f"{overrides[0]}: benchmark {part} has no settings. Leave it out.")
    match part:
        case "loss":
            from deeplab.tools.benchmarks.loss import compare_losses

            compare_losses(repeats=repeats)
        case "atrous":
            from deeplab.tools.benchmarks.atrous import compare_atrous

            compare_atrous(repeats=repeats)
        case "strategies":
            from deeplab.tools.benchmarks.strategies import compare_strategies

            compare_strategies(repeats=repeats)
        case "export":
            from deeplab.tools.benchmarks.exported import compare_exports

            compare_exports(repeats=repeats)
        case "learning":
            from deeplab.tools.benchmarks.learning import compare_learning

            compare_learning(overrides, repeats=repeats)
        case _:
            from deeplab.tools.benchmarks.pipeline import compare_pipelines

            compare_pipelines(repeats=repeats)
