"""Check of a machine's GPU: the tests that compare it with the CPU, and all benchmarks.

Each part is a process of its own. Its output and its outcome are written as soon as it ends, so
that a check that is interrupted goes on where it was when it is started again. Without a GPU the
parts run on the CPU, which shows that they work.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from support.repository import ROOT

TESTS = ("test_training", "test_inference")

BENCHMARKS = {
    "train": 90, "operations": 60, "settings": 120, "loading": 40, "strategies": 60, "loss": 20,
    "export": 40,
}  # fmt: skip
"""Seconds that each benchmark may take on a GPU, the most important one first."""

OUTCOMES = {0: "passed", 2: "left out"}
"""Outcomes by status; 2 is a benchmark whose extra is not installed."""

TEST_SECONDS = 90
"""Seconds that a file of tests may take on a GPU."""


def main() -> None:
    """Run the parts that have not passed yet, and print a table."""
    parser = argparse.ArgumentParser(description="Check the GPU of this machine.")
    parser.add_argument("folder", type=Path, help="where to write outputs and results")
    parser.add_argument("--parts", nargs="*", help="only these; default: all")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    gpu = torch.cuda.is_available()
    print(torch.cuda.get_device_name() if gpu else "No GPU: the parts run on the CPU", flush=True)
    outcomes_path = folder / "parts.json"
    outcomes = json.loads(outcomes_path.read_text()) if outcomes_path.exists() else {}
    commands = part_commands(folder)
    for name in arguments.parts or commands:
        if outcomes.get(name, {}).get("outcome") == "passed":
            print(f"{name}: passed before", flush=True)
            continue
        command, limit = commands[name]
        print(f"{name} ...", flush=True)
        outcomes[name] = run_part(command, folder / f"{name}.txt", limit if gpu else None)
        outcomes_path.write_text(json.dumps(outcomes, indent=1))
        write_table(folder, outcomes)
        print(f"{name}: {outcomes[name]['outcome']}, {outcomes[name]['seconds']:.0f} s", flush=True)
    print(f"\n{(folder / 'gpu_check.md').read_text()}\nWritten to {folder}")
    sys.exit(any(outcome["outcome"] not in OUTCOMES.values() for outcome in outcomes.values()))


def part_commands(folder: Path) -> dict[str, tuple[list[str], int]]:
    """Return the command of each part, and its seconds on a GPU."""
    pytest = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "--durations=0"]
    benchmark = [sys.executable, str(ROOT / "src/benchmark.py"), "--output-dir", str(folder)]
    return {
        **{
            name: ([*pytest, str(ROOT / f"tests/gpu_check/{name}.py")], TEST_SECONDS)
            for name in TESTS
        },
        **{name: ([*benchmark, name], limit) for name, limit in BENCHMARKS.items()},
    }


def run_part(command: list[str], output: Path, limit: int | None) -> dict[str, str | float]:
    """Run a part, its output into a file; return its outcome."""
    start = time.monotonic()
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    with output.open("w") as file:
        try:
            status = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            ).returncode
            outcome = OUTCOMES.get(status, f"failed with status {status}")
        except subprocess.TimeoutExpired:
            outcome = f"stopped after {limit} s"
    lines = output.read_text().strip().splitlines()
    return {
        "outcome": outcome,
        "seconds": round(time.monotonic() - start, 1),
        "last_line": lines[-1] if lines else "",
    }


def write_table(folder: Path, outcomes: dict[str, dict[str, str | float]]) -> None:
    """Write the outcomes, and below them the ratios that the benchmarks have measured."""
    rows = [
        f"| {name} | {o['outcome']} | {o['seconds']:.0f} | {str(o['last_line']).replace('|', '')} |"
        for name, o in outcomes.items()
    ]
    head = ["| part | outcome | seconds | last line |", "|---|---|--:|---|"]
    results = folder / "results.md"
    ratios = results.read_text() if results.exists() else ""
    (folder / "gpu_check.md").write_text("\n".join([*head, *rows, "", ratios]))


if __name__ == "__main__":
    main()
