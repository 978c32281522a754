"""Command line of ``deeplab benchmark [PART]``."""

import argparse
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from deeplab.utils.errors import UserError
from deeplab.utils.program import command

if TYPE_CHECKING:
    from deeplab.tools.benchmarks.timing import Comparison


class Part(NamedTuple):
    """A part of the benchmarks."""

    repeats: int
    """Default number of repeats."""
    function: str
    """``MODULE:NAME``; the module, with what it imports, is imported when it is measured."""

    def load(self) -> "Callable[..., list[Comparison] | None]":
        """Return the function."""
        module, _, name = self.function.partition(":")
        function: Callable[..., list[Comparison] | None] = getattr(
            import_module(f"deeplab.tools.benchmarks.{module}"), name
        )
        return function


PARTS = {
    "loss": Part(7, "loss:compare_losses"),
    "atrous": Part(7, "atrous:compare_atrous"),
    "train": Part(3, "training_step:compare_training"),
    "settings": Part(2, "auto_settings:compare_settings"),
    "operations": Part(3, "operations:print_operations"),
    "pipeline": Part(7, "pipeline:compare_pipelines"),
    "loading": Part(3, "loading:compare_loading"),
    "strategies": Part(3, "strategies:compare_strategies"),
    "export": Part(7, "exported:compare_exports"),
    "startup": Part(7, "startup:compare_startup"),
    "growth": Part(1, "growth:print_growth"),
    "learning": Part(2, "learning:compare_learning"),
}

WITH_DATA = ("learning",)
"""Parts that need a data set."""

IF_NAMED = ("growth", *WITH_DATA)
"""Parts that are measured only if they are named: growth compares no two sides."""


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
        "part", nargs="?", choices=tuple(PARTS), help=f"default: all but {' and '.join(IF_NAMED)}"
    )
    repeats = ", ".join(f"{name} {part.repeats}" for name, part in PARTS.items())
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
    parts = [part] if part else [name for name in PARTS if name not in IF_NAMED]
    for name in parts:
        if name in results.parts:
            print(f"{name}: measured before")
            continue
        if not part:
            print(f"\n{name}", flush=True)
        try:
            comparisons = PARTS[name].load()(
                repeats=arguments.repeats or PARTS[name].repeats,
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
