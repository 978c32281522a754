"""Print measured ratios: ``python src/benchmark.py PART``, as its ``--help`` names them."""

import argparse


def main() -> None:
    """Run the benchmark that is named."""
    parser = argparse.ArgumentParser(description="Measure a part of the project; prints ratios.")
    parser.add_argument("part", choices=["loss", "pipeline", "strategies", "export"])
    parser.add_argument("--repeats", type=int, help="7 unless said; 3 for strategies")
    arguments = parser.parse_args()
    repeats = arguments.repeats or (3 if arguments.part == "strategies" else 7)
    if arguments.part == "loss":
        from deeplab.tools.benchmarks.loss import compare_losses

        compare_losses(repeats=repeats)
    elif arguments.part == "strategies":
        from deeplab.tools.benchmarks.strategies import compare_strategies

        compare_strategies(repeats=repeats)
    elif arguments.part == "export":
        from deeplab.tools.benchmarks.export import compare_exports

        compare_exports(repeats=repeats)
    else:
        from deeplab.tools.benchmarks.pipeline import compare_pipelines

        compare_pipelines(repeats=repeats)


if __name__ == "__main__":
    main()
