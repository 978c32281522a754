"""Runner of the scripts, as a user starts them."""

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from deeplab.utils.program import PROGRAM
from support.repository import ROOT

CPU = ("trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false")
"""Overrides for the same numbers on every machine, without a progress bar."""

SMALL = (
    "data.num_train=8",
    "data.num_val=3",
    "data.min_size=48",
    "data.max_size=56",
    "data.crop_size=33",
    "data.eval_size=65",
    "stage.max_steps=2",
    "stage.batch_size=2",
    *CPU,
    "trainer.num_workers=0",
    "logger=csv",
)
"""Overrides that reduce the default experiment to two steps, which take seconds."""

TINY = (
    "backbone=resnet_tiny", "aspp=tiny", "decoder=tiny", "stage=shapes", "data.crop_size=33",
    "data.eval_size=65", *(s for s in SMALL if not s.startswith("data.")),
)  # fmt: skip
"""The same for an experiment on images of the caller's own."""


def environment() -> dict[str, str]:
    """Return the environment of a script: one thread a process, because tests run in parallel.

    In messages the scripts have the names of subcommands.
    """
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "offline",
        "COLUMNS": "100",
        PROGRAM: "deeplab {}",
    }


def run(
    script: str,
    *arguments: str,
    cwd: Path,
    ok: bool = True,
    variables: Mapping[str, str | None] = {},
    without: Sequence[str] = (),
    prefix: tuple[str, ...] = (),
    root: Path = ROOT,
) -> subprocess.CompletedProcess:
    """Run ``src/<script>.py`` with more ``variables`` in the environment; None removes one.

    With ``ok`` it must succeed; otherwise the caller checks its status and message. Packages in
    ``without`` cannot be imported, as if they were not installed. ``prefix`` is a command that runs
    the script's process, such as ``unshare``. The script is that of the repository or of a copy at
    ``root``. If ``MODULES`` is among the variables, the file of
    that name gets the names of all modules that were imported.
    """
    all_variables = {**environment(), **variables}
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        request = {
            "command": [str(root / "src" / f"{script}.py"), *map(str, arguments)],
            "cwd": str(cwd),
            "environment": {k: v for k, v in all_variables.items() if v is not None},
            "without": list(without),
            "out": str(out),
            "err": str(err),
            "timeout": 240,
        }
        server = warm_server(prefix)
        print(json.dumps(request), file=server.stdin, flush=True)
        status = int(server.stdout.readline())
        done = subprocess.CompletedProcess(arguments, status, out.read_text(), err.read_text())
    assert not ok or status == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


HEAVY = {"torch", "lightning", "albumentations", "wandb", "cv2"}
"""Packages that take a second or more to import."""


def check_imports(code: str, *, without: Iterable[str] = HEAVY, cwd: Path = ROOT) -> str:
    """Run Python code in a new process, check what it imported, and return what it printed."""
    at_exit = "import atexit, sys; atexit.register(lambda: print('\\n', *sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{at_exit}\n{code}"],
        cwd=cwd,
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed, _, modules = done.stdout.rstrip().rpartition("\n")
    assert not {*without} & {*modules.split()}
    return printed


def script_code(script: str, *arguments: str) -> str:
    """Return Python code that runs ``src/<script>.py``."""
    path = str(ROOT / "src" / f"{script}.py")
    argv = [f"src/{script}.py", *map(str, arguments)]
    return f"import runpy; sys.argv = {argv}; runpy.run_path({path!r}, run_name='__main__')"


@cache
def warm_server(prefix: tuple[str, ...] = ()) -> subprocess.Popen:
    """Return a process that has the libraries loaded; see ``warm``."""
    server = subprocess.Popen(
        [*prefix, sys.executable, Path(__file__).with_name("warm.py")],
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)
    return server


def run_folders(cwd: Path) -> list[Path]:
    """Return the run folders below ``runs/``, sorted by name."""
    reports = ("ablations", "sweeps")
    folders = (p for p in (cwd / "runs").glob("*") if p.name not in reports)
    return sorted(p for p in folders if not p.name.startswith("."))
