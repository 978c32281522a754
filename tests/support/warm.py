"""Server that runs scripts in forks of a process with all code loaded, to save seconds each.

It reads one JSON object a line: the command, its folder, environment, files for its output, and
the seconds after which it is killed. It answers each with the exit status. Every fork is a separate
process; tests of the start itself use fresh processes.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import sys
import threading
import traceback
from pathlib import Path

import hydra  # noqa: F401
import lightning.pytorch  # noqa: F401
import matplotlib.figure  # noqa: F401
import requests  # noqa: F401
import torch._dynamo  # noqa: F401

import deeplab
from deeplab.models.backbones.timm_models import import_timm
from deeplab.utils.errors import UserError

for module in pkgutil.walk_packages(deeplab.__path__, "deeplab."):
    importlib.import_module(module.name)

with contextlib.suppress(UserError):  # not one of the locked packages
    import_timm()


def main() -> None:
    """Serve until the input ends."""
    gc.freeze()  # otherwise garbage collection in a fork copies all loaded objects
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            run_in_fork(**request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


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
    for number, path in enumerate((os.devnull, out, err)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]  # it reads the environment on import
    if not Path(deeplab.__file__).is_relative_to(Path(command[0]).parent):  # an edited copy
        for name in [name for name in sys.modules if name.partition(".")[0] == "deeplab"]:
            del sys.modules[name]
    for name in [*without, *sys.modules]:
        if name.partition(".")[0] in without:
            sys.modules[name] = None  # as if it were not installed
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv[:] = command
    sys.path[0] = str(Path(command[0]).parent)
    if path := environment.get("MODULES"):
        atexit.register(lambda: Path(path).write_text(" ".join(sys.modules)))
    signal.alarm(timeout)
    status = 1
    try:
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


def leave(status: int) -> None:
    """End this process as Python does, without freeing each object, which would copy all pages."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
