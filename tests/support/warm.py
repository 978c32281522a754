"""Runs scripts in forks of a process that has loaded the libraries, which takes seconds a time.

Reads a JSON object a line: the command, its folder, environment, files for its output, and seconds
until it is killed. Answers each with its exit status. A fork is a process of its own; what concerns
starting up itself is tested in processes that start from nothing.
"""

import contextlib
import gc
import json
import os
import runpy
import signal
import sys
from pathlib import Path

import albumentations  # noqa: F401
import hydra  # noqa: F401
import lightning.pytorch  # noqa: F401
import requests  # noqa: F401
import scipy.io  # noqa: F401
import torch._dynamo  # noqa: F401

with contextlib.suppress(ImportError):  # it is not among the locked packages
    import timm  # noqa: F401


def main() -> None:
    """Serve until the input ends."""
    gc.freeze()  # so that collecting in a fork does not copy all that was loaded
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            become(**request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(
    command: list[str], cwd: str, environment: dict[str, str], out: str, err: str, timeout: int
) -> None:
    """Run a script as ``python <command>`` would, to its end and this process's."""
    for number, path in enumerate((os.devnull, out, err)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]  # it looks at the environment when it is imported
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv[:] = command
    sys.path[0] = str(Path(command[0]).parent)
    signal.alarm(timeout)
    runpy.run_path(command[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    main()
