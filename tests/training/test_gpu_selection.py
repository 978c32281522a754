"""GPU selection by the processes of a sweep, with fake GPUs and real processes."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress

import pytest

from deeplab.training import gpu_selection
from support.repository import ROOT
from support.scripts import SMALL, environment


class JobProcess:
    """Fork of this process that selects a GPU, and after a line of input that of its next job."""

    def __init__(self, folder, num_gpus, job=0, visible=None, fork=False):
        child_input, self.input = os.pipe()
        output, child_output = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.setsid()
            os.dup2(child_input, 0)
            os.dup2(child_output, 1)
            for end in (self.input, output, child_input, child_output):
                os.close(end)
            try:
                select(folder, num_gpus, job, visible, fork)
            finally:
                os._exit(0)
        os.close(child_input)
        os.close(child_output)
        self.output = os.fdopen(output)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def next_job(self):
        """Let it run its next job; return what it prints until its end."""
        os.write(self.input, b"\n")
        return self.output.read()

    def close(self):
        """End it with its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.close(self.input)
        self.output.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def select(folder, num_gpus, job, visible, fork):
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w", buffering=1)
    tempfile.tempdir = str(folder)
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible

    def count():
        value = os.environ.get("CUDA_VISIBLE_DEVICES")
        return num_gpus if value is None else min(num_gpus, len([n for n in value.split(",") if n]))

    gpu_selection.torch.cuda.device_count = count
    gpu_selection.select_gpu(job)
    if fork and not os.fork():
        time.sleep(60)
        os._exit(0)
    print("has", os.environ.get("CUDA_VISIBLE_DEVICES"))
    sys.stdin.readline()
    gpu_selection.select_gpu(job + 1)
    print("has", os.environ.get("CUDA_VISIBLE_DEVICES"))
    print("outer", gpu_selection.subprocess_environment().get("CUDA_VISIBLE_DEVICES"))


@pytest.fixture
def job(tmp_path):
    """Return a function that starts a process, which selects one of ``num_gpus`` GPUs."""
    started = []

    def start(*arguments, **options):
        started.append(JobProcess(tmp_path, *arguments, **options))
        return started[-1]

    yield start
    for process in started:
        process.close()


def output_of(process):
    """Return the GPU that a process has selected, and its output before that."""
    lines = []
    while not lines or not lines[-1].startswith("has "):
        lines.append(process.output.readline())
        assert lines[-1], "the process has ended"
    return lines[-1].removeprefix("has ").strip(), "".join(lines[:-1])


def test_each_process_has_its_own_gpu_until_it_ends(job):
    processes = [job(3, number) for number in range(3)]
    gpus = [output_of(process)[0] for process in processes]
    assert sorted(gpus) == ["0", "1", "2"]
    gpu, printed = output_of(job(3, 4))
    assert gpu == "1"  # job 4 modulo 3 GPUs
    assert "shared" in printed
    processes[1].kill()
    gpu, printed = output_of(job(3, 4))
    assert gpu == gpus[1]
    assert "shared" not in printed
    kept = processes[0].next_job()
    assert kept.splitlines() == [f"has {gpus[0]}", "outer None"]
    assert output_of(job(3, 4))[0] == gpus[0]


def test_only_visible_gpus_are_selected(job):
    processes = [job(8, number, visible="5, GPU-abc/1,7") for number in range(3)]
    assert sorted(output_of(process)[0] for process in processes) == ["5", "7", "GPU-abc/1"]
    assert processes[0].next_job().endswith("outer 5, GPU-abc/1,7\n")


@pytest.mark.parametrize(("num_gpus", "visible"), [(0, None), (1, None), (8, "3"), (8, "")])
def test_nothing_is_selected_with_less_than_two_gpus(job, tmp_path, num_gpus, visible):
    process = job(num_gpus, visible=visible)
    gpu, printed = output_of(process)
    assert gpu == str(visible)  # "None" if the variable is not set
    assert not printed
    assert not list(tmp_path.iterdir())
    assert process.next_job().endswith(f"outer {visible}\n")


def test_child_of_a_killed_process_does_not_keep_the_gpu(job):
    """Data loading processes outlive their parent for some seconds."""
    process = job(2, fork=True)
    gpu, _ = output_of(process)
    process.kill()
    assert output_of(job(2))[0] == gpu


def test_unusable_lock_file_is_no_error(job, tmp_path):
    for gpu in range(2):
        (tmp_path / f"deeplab-gpu-{os.getuid()}-{gpu}").mkdir()
    gpu, printed = output_of(job(2, 1))
    assert gpu == "1"
    assert "shared" in printed


@pytest.mark.processes
def test_job_selects_its_gpu_before_cuda_is_initialized(tmp_path):
    """CUDA ignores changes of the visible devices after its initialization."""
    code = (
        "import runpy, sys, torch\n"
        f"sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        "from deeplab.training import launch\n"
        "def fail(*_):\n"
        "    raise AssertionError('CUDA is used')\n"
        "torch.cuda.is_available = torch.cuda._lazy_init = fail\n"
        "def print_job(job):\n"
        "    print('job', job)\n"
        "    sys.exit(0)\n"
        "launch.select_gpu = print_job\n"
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
    assert "CUDA is used" in call().stderr  # a single run uses all GPUs
    assert "job 0" not in call("-m", "trainer.accelerator=cpu").stdout
