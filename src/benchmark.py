"""Print measured ratios: ``python src/benchmark.py loss`` or ``pipeline``."""

import argparse


def main() -> None:
    """Run the benchmark that is named."""
    parser = argparse.ArgumentParser(description="Measure a part of the project; prints ratios.")
    parser.add_argument("part", choices=["loss", "pipeline"])
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.part == "loss":
        from deeplab.benchmarks.loss import compare_losses

        compare_losses(repeats=arguments.repeats)
    else:
        from deeplab.benchmarks.pipeline import compare_pipelines

        compare_pipelines(repeats=arguments.repeats)


if __name__ == "__main__":
    main()
