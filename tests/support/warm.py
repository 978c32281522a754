"""Server that runs scripts in forks of a process with all code loaded, to save seconds each.

It reads one JSON object a line: the command, its folder, environment, files for its output, and
the seconds after which it is killed. It answers each with the exit status. Every fork is a separate
process; tests of the start itself use fresh processes.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import re
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hydra  # noqa: F401
import lightning.pytorch  # noqa: F401
import requests  # noqa: F401
import torch._dynamo  # noqa: F401
from matplotlib.figure import Figure

import deeplab
from deeplab.config.command_line import parse_overrides
from deeplab.models.backbones.timm_models import import_timm
from deeplab.training import launch, processes
from deeplab.utils.errors import UserError

for module in pkgutil.walk_packages(deeplab.__path__, "deeplab."):
    importlib.import_module(module.name)

with contextlib.suppress(UserError):  # not one of the locked packages
    import_timm()


MAX_JOBS = 2
"""Jobs of a sweep that are forks; further ones are started as a user's are."""


def warm_up() -> None:
    """Fill the caches of the parser of overrides and of fonts, which every fork would fill again.

    No config is composed: Hydra would keep the plugins of this package also for copies of it.
    """
    parse_overrides(["a.b=[1,2.5,c,{d: null}]", "+e=x/y"])
    figure = Figure()
    figure.subplots().set_title("text")
    figure.savefig(io.BytesIO(), format="png")


def main() -> None:
    """Serve until the input ends."""
    warm_up()
    gc.freeze()  # otherwise garbage collection in a fork copies all loaded objects
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            run_in_fork(**request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def is_copy(script: str) -> bool:
    """Return True for a script of another copy of the repository, with a package of its own."""
    return not Path(deeplab.__file__).is_relative_to(Path(script).parent)


def run_in_fork(
    command: list[str],
    cwd: str,
    environment: dict[str, str],
    without: list[str],
    out: str,
    err: str,
    timeout: int,
) -> None:
    """Run a script as ``python <command>`` would, then exit this process."""
    is_module = command[:3] == ["-P", "-m", "deeplab"]
    copied = not is_module and is_copy(command[0])
    devices = re.search(r"trainer\.devices=(\d+)", " ".join(command))
    if devices and not copied and "LOCAL_RANK" not in environment:  # the first one of a run
        keep_spares(MAX_JOBS if "-m" in command[3 * is_module :] else int(devices[1]) - 1, out, err)
    for number, path in enumerate((os.devnull, out, err)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]  # it reads the environment on import
    if copied:
        for name in [name for name in sys.modules if name.partition(".")[0] == "deeplab"]:
            del sys.modules[name]
    for name in [*without, *sys.modules]:
        if name.partition(".")[0] in without:
            sys.modules[name] = None  # as if it were not installed
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv[:] = command[2:] if is_module else command
    sys.path[:1] = [] if is_module else [str(Path(command[0]).parent)]
    if path := environment.get("MODULES"):
        atexit.register(lambda: Path(path).write_text(" ".join(sys.modules)))
    signal.alarm(timeout)
    status = 1
    try:
        if is_module:
            runpy.run_module("deeplab", run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(command[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code or 0
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
    leave(status)


class Spare:
    """Fork that becomes a further process of a run, in place of one that loads all libraries."""

    def __init__(self, earlier: Sequence["Spare"]) -> None:
        reading, self.writing = os.pipe()
        self.pid, self.returncode = os.fork(), None
        if not self.pid:
            for spare in (self, *earlier):  # which would wait for the end of this one
                os.close(spare.writing)
            with os.fdopen(reading) as file:
                request = file.read()
            if not request:  # the first process has ended
                os._exit(0)
            run_in_fork(**json.loads(request))
        os.close(reading)

    def start(self, request: dict[str, Any], process_group: int | None = None) -> "Spare":
        """Let the fork run a command; this takes the place of ``subprocess.Popen``."""
        if process_group is not None:
            os.setpgid(self.pid, process_group)
        os.write(self.writing, json.dumps(request).encode())
        os.close(self.writing)
        return self

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        """Return the exit status when the process has ended."""
        return self._wait(0)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            process, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if process else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def keep_spares(count: int, out: str, err: str) -> None:
    """Let forks of this process be the further processes of its run, or the jobs of its sweep."""
    spares: list[Spare] = []
    for _ in range(count):
        spares.append(Spare(spares))

    def popen(
        command: list[str],
        env: dict[str, str],
        cwd: str | Path = ".",
        process_group: int | None = None,
    ) -> Any:
        if not spares:
            return subprocess.Popen(command, env=env, cwd=cwd, process_group=process_group)
        request = {
            "command": command[1:],
            "cwd": str(Path(cwd).absolute()),
            "environment": env,
            "without": [],
            "out": out,
            "err": err,
            "timeout": 600,
        }
        return spares.pop().start(request, process_group)

    for module in (processes, launch):
        module.subprocess = SimpleNamespace(Popen=popen)  # type: ignore[attr-defined]


def leave(status: int) -> None:
    """End this process as Python does, without freeing each object, which would copy all pages."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
