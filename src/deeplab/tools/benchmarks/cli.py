"""Command line of ``deeplab benchmark PART``."""

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from deeplab.utils.errors import UserError, script_errors
from deeplab.utils.program import command


class Parser(argparse.ArgumentParser):
    """Parser whose errors have the form of the other scripts'."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"{message}. See {command('benchmark')} --help.")


def run_benchmark(arguments: Sequence[str]) -> None:
    """Run one benchmark; a user's mistake ends it with a message and status 2."""
    parser = Parser(
        prog=command("benchmark"),
        description="Measure the speed of a part of the project and print ratios.",
    )
    parser.add_argument("part", choices=["loss", "pipeline", "strategies", "export"])
    parser.add_argument(
        "--repeats",
        type=num_repeats,
        help="number of repeats, 1 to 1000 (default: 7; for strategies: 3)",
    )
    with script_errors():
        measure(parser.parse_args(arguments))


def num_repeats(text: str) -> int:
    """Return the number of repeats."""
    if not re.fullmatch("[1-9][0-9]{0,2}|1000", text):
        raise argparse.ArgumentTypeError(f"{text}: expected an integer from 1 to 1000")
    return int(text)


def measure(arguments: argparse.Namespace) -> None:
    """Run the benchmark of a part."""
    repeats = arguments.repeats or (3 if arguments.part == "strategies" else 7)
    if arguments.part == "loss":
        from deeplab.tools.benchmarks.loss import compare_losses

        compare_losses(repeats=repeats)
    elif arguments.part == "strategies":
        from deeplab.tools.benchmarks.strategies import compare_strategies

        compare_strategies(repeats=repeats)
    elif arguments.part == "export":
        from deeplab.tools.benchmarks.exported import compare_exports

        compare_exports(repeats=repeats)
    else:
        from deeplab.tools.benchmarks.pipeline import compare_pipelines

        compare_pipelines(repeats=repeats)
