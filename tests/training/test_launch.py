"""Which GPU a process of a sweep takes; the GPUs are made up, the processes are real."""

import os
import subprocess
import sys

import pytest

from deeplab.config.paths import ROOT
from support.scripts import SMALL, environment

TAKE = f"""
import os, sys
sys.path.insert(0, {str(ROOT / "src")!r})
from deeplab.training import launch
there = int(sys.argv[1])
def count():
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return there if named is None else min(there, len([n for n in named.split(",") if n]))
launch.torch.cuda.device_count = count
launch.select_gpu(int(sys.argv[2]))
print("has", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.readline()
launch.select_gpu(int(sys.argv[2]) + 1)
print("has", os.environ.get("CUDA_VISIBLE_DEVICES"))
print("outer", launch.environment().get("CUDA_VISIBLE_DEVICES"))
"""


@pytest.fixture
def take(tmp_path):
    """Start a process on a machine of some GPUs; what it says it has."""
    started = []

    def start(there, job=0, visible=None):
        variables = {k: v for k, v in environment().items() if k != "CUDA_VISIBLE_DEVICES"}
        variables |= {"TMPDIR": str(tmp_path)}
        variables |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE, str(there), str(job)],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(process):
    lines = []
    while not lines or not lines[-1].startswith("has "):
        lines.append(process.stdout.readline())
        assert lines[-1], "it has ended"
    return lines[-1].removeprefix("has ").strip(), "".join(lines[:-1])


def test_each_process_has_its_own_until_it_ends(take):
    three = [take(3, job) for job in range(3)]
    first = [said(process)[0] for process in three]
    assert sorted(first) == ["0", "1", "2"]
    own, printed = said(take(3, 4))
    assert own == "1"  # the fourth job's share
    assert "shared" in printed
    three[1].kill()
    three[1].wait()
    own, printed = said(take(3, 4))
    assert own == first[1]
    assert "shared" not in printed
    out, _ = three[0].communicate("\n")
    assert out.splitlines() == [f"has {first[0]}", "outer None"]  # its next job stays there
    assert said(take(3, 4))[0] == first[0]


def test_only_what_is_visible_is_taken(take):
    processes = [take(8, job, visible="5, GPU-abc/1,7") for job in range(3)]
    assert sorted(said(process)[0] for process in processes) == ["5", "7", "GPU-abc/1"]
    assert processes[0].communicate("\n")[0].endswith("outer 5, GPU-abc/1,7\n")


@pytest.mark.parametrize(("there", "visible"), [(0, None), (1, None), (8, "3"), (8, "")])
def test_where_there_is_no_choice_nothing_is_taken(take, tmp_path, there, visible):
    process = take(there, visible=visible)
    own, printed = said(process)
    assert own == str(visible)  # None as text, if nothing was set
    assert not printed
    assert not list(tmp_path.iterdir())
    assert process.communicate("\n")[0].endswith(f"outer {visible}\n")


def test_a_folder_of_somebody_else_is_no_error(take, tmp_path):
    (tmp_path / f"deeplab-gpus-{os.getuid()}").touch()
    own, printed = said(take(2, 1))
    assert own == "1"
    assert "shared" in printed


@pytest.mark.processes
def test_a_job_chooses_before_cuda_is_looked_at(tmp_path):
    """It stays with the devices that it has seen then."""
    code = (
        "import runpy, sys, torch\n"
        f"sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        "from deeplab.training import launch\n"
        "def refuse(*_):\n"
        "    raise AssertionError('CUDA is looked at')\n"
        "torch.cuda.is_available = torch.cuda._lazy_init = refuse\n"
        "def reached(job):\n"
        "    print('job', job)\n"
        "    sys.exit(0)\n"
        "launch.select_gpu = reached\n"
        f"sys.argv = ['train.py', *sys.argv[1:]]\n"
        f"runpy.run_path({str(ROOT / 'src/train.py')!r}, run_name='__main__')\n"
    )
    settings = [s for s in SMALL if "accelerator" not in s]

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-c", code, *settings, *arguments],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    sweep = call("-m")
    assert "job 0" in sweep.stdout, sweep.stderr
    assert "CUDA is looked at" in call().stderr  # a run of its own has all
    assert "job 0" not in call("-m", "trainer.accelerator=cpu").stdout
