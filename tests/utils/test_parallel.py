"""Work in several processes and threads: order, errors, kills, Ctrl-C."""

import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future

import pytest

from deeplab.utils.errors import UserError
from deeplab.utils.parallel import is_first_process, map_in_threads, parallel_map, prefetch
from support.repository import ROOT


def test_results_are_in_order():
    items = [float(i) for i in range(200)]
    for num_workers in (0, 1, 3):
        assert list(
            parallel_map(math.sqrt, items, num_workers=num_workers, desc="", progress=False)
        ) == [math.sqrt(i) for i in items]
    assert list(parallel_map(math.sqrt, [], num_workers=2, desc="", progress=False)) == []


@pytest.mark.parametrize("num_workers", [1, 2])
def test_exception_is_raised_unchanged(num_workers):
    with pytest.raises(ValueError, match="math domain error"):
        list(
            parallel_map(
                math.sqrt, [1.0] * 90 + [-1.0], num_workers=num_workers, desc="", progress=False
            )
        )


def test_killed_worker_is_reported():
    with pytest.raises(UserError, match="fewer workers"):
        list(
            parallel_map(
                signal.raise_signal, [signal.SIGKILL], num_workers=2, desc="", progress=False
            )
        )


def start_script(root, moment):
    """Start a script with two workers in a new process group; return at ``moment``."""
    script = root / "script.py"
    script.write_text(
        "import time\n"
        "from deeplab.utils.parallel import parallel_map\n"
        f"if __name__ == '__mp_main__' and {moment == 'starting'}:\n"
        "    print('started', flush=True)\n"
        "    time.sleep(0.5)\n"
        "if __name__ == '__main__':\n"
        "    times = [0.01] * 10000\n"
        "    for _ in parallel_map(time.sleep, times, num_workers=2, desc='', progress=False):\n"
        "        print('started', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline().startswith("started")  # both workers may start at once
    return process


@pytest.mark.parametrize("moment", ["starting", "working"])
def test_ctrl_c_is_reported_once(tmp_path, moment):
    process = start_script(tmp_path, moment)
    os.killpg(process.pid, signal.SIGINT)  # to the whole group, as a terminal does
    _, errors = process.communicate(timeout=20)  # waits for all processes that hold the pipes
    assert errors.count("Traceback") == 1, errors
    assert errors.endswith("KeyboardInterrupt\n")


def test_ctrl_c_never_comes_while_a_result_holds_a_lock(monkeypatch):
    """No result is waited for inside ``Future.result``, where Ctrl-C may become a RuntimeError."""
    plain, waits = Future.result, []

    def result(future, timeout=None):
        waits.append(not future.done())
        return plain(future, timeout)

    monkeypatch.setattr(Future, "result", result)
    times = [0.01] * 40
    for results in (
        parallel_map(time.sleep, times, num_workers=2, desc="", progress=False),
        map_in_threads(time.sleep, times, num_threads=2),
        (r for _, r in prefetch(time.sleep, [(t,) for t in times], num_threads=2, max_pending=4)),
    ):
        waits.clear()
        assert list(results) == [None] * 40
        assert waits
        assert not any(waits)


def test_workers_end_when_their_parent_is_killed(tmp_path):
    process = start_script(tmp_path, "working")
    process.kill()
    process.communicate(timeout=20)


@pytest.mark.parametrize("variable", ["LOCAL_RANK", "SLURM_PROCID"])
def test_further_processes_of_a_launcher_are_known(variable, monkeypatch):
    monkeypatch.setenv(variable, "0")
    assert is_first_process()
    monkeypatch.setenv(variable, "1")
    assert not is_first_process()
