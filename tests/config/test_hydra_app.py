"""Ends of scripts that are no mistakes of their command lines."""

import errno
import os
import resource
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from omegaconf.errors import ConfigKeyError
from torch.utils.data import DataLoader

from deeplab.config import command_line, hydra_app
from deeplab.data.loader import build_loader
from deeplab.utils.errors import UserError
from deeplab.utils.interrupts import STOP_SIGNALS
from support.repository import ROOT


def test_a_signal_while_the_command_line_is_checked_is_no_traceback(monkeypatch, capfd):
    monkeypatch.setattr("sys.argv", ["evaluate.py", "run=x"])
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in before:
        kill = partial(os.kill, os.getpid(), number)
        monkeypatch.setattr(command_line, "check_arguments", lambda *_, kill=kill: kill())
        with pytest.raises(SystemExit) as end:
            hydra_app.run_script(lambda config: None, "evaluate")
        assert end.value.code == 130
        assert "Run the same command to go on" in capfd.readouterr().err
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("allocate", [lambda: torch.empty(10**14), lambda: np.empty(10**16)])
def test_too_little_memory_is_the_machines_error(allocate):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        allocate()
    error = hydra_app._explain(caught.value)
    assert isinstance(error, UserError)
    assert "too little" in str(error)
    assert "allocate" in str(error)
    assert "enforce fail" not in str(error)
    other = RuntimeError("shapes do not fit")
    assert hydra_app._explain(other) is other


def test_a_library_may_replace_the_exception_of_a_signal(monkeypatch, capfd):
    """OmegaConf does, if the signal comes while it holds a flag."""

    def replace(*_):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise ConfigKeyError("no such attribute") from None

    monkeypatch.setattr("sys.argv", ["evaluate.py", "run=x"])
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    monkeypatch.setattr(command_line, "check_arguments", replace)
    with pytest.raises(SystemExit) as end:
        hydra_app.run_script(lambda config: None, "evaluate")
    assert end.value.code == 130
    assert capfd.readouterr().err == "\nInterrupted. Run the same command to go on.\n"
    for number, handler in before.items():
        signal.signal(number, handler)


LATE = f"""
import atexit, os, signal, sys
sys.path.insert(0, {str(ROOT / "src")!r})
from deeplab.config.hydra_app import run_script
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
sys.argv = ["evaluate.py", "--keys", "strategies"]
run_script(print, "evaluate")
"""


def test_a_signal_after_the_work_is_no_traceback():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "strategies" in done.stdout
    assert not done.stderr


class Deadly:
    """Data set that kills the worker which reads it."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_loading_worker_is_one_line():
    loader = build_loader(Deadly(), num_workers=1, batch_bytes=1)
    with pytest.raises(RuntimeError) as caught:
        next(iter(loader))
    error = hydra_app._explain(caught.value)
    assert isinstance(error, UserError)
    assert "fewer workers" in str(error)


def test_errors_of_the_machine_are_one_line_and_others_stay(tmp_path):
    read_only = OSError(errno.EROFS, "Read-only file system", str(tmp_path))
    assert str(hydra_app._explain(read_only)).startswith(f"{tmp_path}: Read-only file system. ")
    missing = FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path))
    assert hydra_app._explain(missing) is missing


def test_workers_without_a_file_left_are_explained():
    loader = iter(DataLoader([0] * 99, num_workers=1))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    next(loader)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        with pytest.raises(RuntimeError) as caught:
            list(loader)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert str(hydra_app._explain(caught.value)).startswith("ulimit -n: this process may not open")
