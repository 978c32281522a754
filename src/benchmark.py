"""Measure the speed of a part of the project; see ``python src/benchmark.py --help``."""

import argparse

from deeplab.utils.errors import UserError


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(
        description="Measure the speed of a part of the project and print ratios."
    )
    parser.add_argument("part", choices=["loss", "pipeline", "strategies", "export"])
    parser.add_argument(
        "--repeats", type=int, help="number of repeats (default: 7; for strategies: 3)"
    )
    arguments = parser.parse_args()
    try:
        measure(arguments)
    except UserError as error:
        parser.error(str(error))


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


if __name__ == "__main__":
    main()
