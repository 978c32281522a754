"""Benchmark of the start of scripts against a Hydra application that does nothing."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from deeplab.tools.benchmarks.timing import Comparison, compare

BARE = """
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config): pass

main()
"""
"""A Hydra application with one key and no groups."""

SCRIPTS = ("train", "evaluate", "cost")


def compare_startup(*, repeats: int) -> list[Comparison]:
    """Time ``--help`` and a composed config, each in a new process, in turn; print the ratios."""
    with TemporaryDirectory() as folder:
        bare = Path(folder, "bare.py")
        bare.write_text(BARE)
        (bare.parent / "conf").mkdir()
        (bare.parent / "conf/config.yaml").write_text("key: 0\n")
        start = partial(_start, folder)
        scripts = {f"deeplab {name}": ("-m", "deeplab", name) for name in SCRIPTS}
        comparisons = []
        for title, argument, others in (
            ("--help", ("--help",), scripts),
            ("--cfg job", ("--cfg", "job"), {"deeplab train": scripts["deeplab train"]}),
        ):
            works = {"bare Hydra": partial(start, str(bare), *argument)}
            works |= {name: partial(start, *line, *argument) for name, line in others.items()}
            comparisons += compare(title, works, repeats=repeats)
    return comparisons


def _start(folder: str, *arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
