"""Print measured ratios: ``python src/benchmark.py loss``."""

import argparse


def main() -> None:
    """Run the benchmark that is named."""
    parser = argparse.ArgumentParser(description="Measure a part of the project; prints ratios.")
    parser.add_argument("part", choices=["loss"])
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    from deeplab.benchmarks.loss import compare_losses

    compare_losses(repeats=arguments.repeats)


if __name__ == "__main__":
    main()
