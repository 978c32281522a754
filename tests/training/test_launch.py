"""GPU selection by the processes of a sweep, with fake GPUs and real processes; returned scores."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from deeplab.config.paths import ROOT
from support.scripts import SMALL, environment

SELECT = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT / "src")!r})
from deeplab.training import launch
num_gpus = int(sys.argv[1])
def count():
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return num_gpus if visible is None else min(num_gpus, len([n for n in visible.split(",") if n]))
launch.torch.cuda.device_count = count
launch.select_gpu(int(sys.argv[2]))
if sys.argv[3:] and not os.fork():
    time.sleep(60)
    os._exit(0)
print("has", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.readline()
launch.select_gpu(int(sys.argv[2]) + 1)
print("has", os.environ.get("CUDA_VISIBLE_DEVICES"))
print("outer", launch.subprocess_environment().get("CUDA_VISIBLE_DEVICES"))
"""


@pytest.fixture
def select(tmp_path):
    """Return a function that starts a process, which selects one of ``num_gpus`` GPUs."""
    started = []

    def start(num_gpus, job=0, visible=None, fork=False):
        variables = {k: v for k, v in environment().items() if k != "CUDA_VISIBLE_DEVICES"}
        variables |= {"TMPDIR": str(tmp_path)}
        variables |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        process = subprocess.Popen(
            [sys.executable, "-c", SELECT, str(num_gpus), str(job), *["fork"] * fork],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its children
        process.communicate()


def output_of(process):
    """Return the GPU that a process has selected, and its output before that."""
    lines = []
    while not lines or not lines[-1].startswith("has "):
        lines.append(process.stdout.readline())
        assert lines[-1], "the process has ended"
    return lines[-1].removeprefix("has ").strip(), "".join(lines[:-1])


def test_each_process_has_its_own_gpu_until_it_ends(select):
    processes = [select(3, job) for job in range(3)]
    gpus = [output_of(process)[0] for process in processes]
    assert sorted(gpus) == ["0", "1", "2"]
    gpu, printed = output_of(select(3, 4))
    assert gpu == "1"  # job 4 modulo 3 GPUs
    assert "shared" in printed
    processes[1].kill()
    processes[1].wait()
    gpu, printed = output_of(select(3, 4))
    assert gpu == gpus[1]
    assert "shared" not in printed
    out, _ = processes[0].communicate("\n")
    assert out.splitlines() == [f"has {gpus[0]}", "outer None"]  # its next job keeps the GPU
    assert output_of(select(3, 4))[0] == gpus[0]


def test_only_visible_gpus_are_selected(select):
    processes = [select(8, job, visible="5, GPU-abc/1,7") for job in range(3)]
    assert sorted(output_of(process)[0] for process in processes) == ["5", "7", "GPU-abc/1"]
    assert processes[0].communicate("\n")[0].endswith("outer 5, GPU-abc/1,7\n")


@pytest.mark.parametrize(("num_gpus", "visible"), [(0, None), (1, None), (8, "3"), (8, "")])
def test_nothing_is_selected_with_less_than_two_gpus(select, tmp_path, num_gpus, visible):
    process = select(num_gpus, visible=visible)
    gpu, printed = output_of(process)
    assert gpu == str(visible)  # "None" if the variable is not set
    assert not printed
    assert not list(tmp_path.iterdir())
    assert process.communicate("\n")[0].endswith(f"outer {visible}\n")


def test_child_of_a_killed_process_does_not_keep_the_gpu(select):
    """Data loading processes outlive their parent for some seconds."""
    process = select(2, fork=True)
    gpu, _ = output_of(process)
    process.kill()
    process.wait()
    assert output_of(select(2))[0] == gpu


def test_unusable_lock_file_is_no_error(select, tmp_path):
    for gpu in range(2):
        (tmp_path / f"deeplab-gpu-{os.getuid()}-{gpu}").mkdir()
    gpu, printed = output_of(select(2, 1))
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


RETURNED = f"""
import sys
sys.path.insert(0, {str(ROOT / "src")!r})
from deeplab.config.hydra_app import run_script
from train import main
run_script(lambda config: print("returned", main(config)), "train")
"""


@pytest.mark.processes
def test_a_job_returns_its_score_to_the_sweeper(tmp_path):
    """On two devices a subprocess trains, in which the sweeper does not run."""
    script = tmp_path / "returned.py"
    script.write_text(RETURNED)
    for devices in (1, 2):
        overrides = (*SMALL, f"trainer.devices={devices}", f"runs_dir=runs{devices}")
        output = subprocess.check_output(
            [sys.executable, script, "-m", *overrides], cwd=tmp_path, env=environment(), text=True
        )
        (result,) = tmp_path.glob(f"runs{devices}/*/metrics.json")
        score = json.loads(result.read_text())["mIoU"]
        assert score > 0
        assert f"returned {score}" in output.splitlines()
