"""Processes on several devices: who starts them, and where they listen."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from safetensors.torch import load_file

from deeplab.training.processes import find_launcher, join_processes
from deeplab.utils.errors import UserError
from deeplab.utils.parallel import is_first_process
from support.processes import start_training, wait_for_step
from support.repository import ROOT
from support.scripts import SMALL, environment, run, run_folders

LEFTOVERS = {"MASTER_ADDR": "10.255.0.1", "MASTER_PORT": "29500", "WORLD_SIZE": "8"}
"""Variables of another job that name no process."""

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_NNODES": "1",
    "SLURM_NODELIST": "node[07-09]",
    "SLURM_JOB_NAME": "train.sh",
}


def tasks(count, rank=0, **more):
    """Return what SLURM sets for one of some tasks."""
    values = {"NTASKS": count, "PROCID": rank, "LOCALID": rank, "NTASKS_PER_NODE": count, **more}
    return SLURM | {f"SLURM_{key}": str(value) for key, value in values.items()}


@pytest.fixture
def set_environment(monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 0)

    def set_all(variables):
        for name in [n for n in os.environ if n.startswith("SLURM") or n in LEFTOVERS]:
            monkeypatch.delenv(name)
        for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "GROUP_WORLD_SIZE"):
            monkeypatch.setenv(name, "")  # so that it is restored
            monkeypatch.delenv(name)
        for name, value in {**LEFTOVERS, **variables}.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize(
    "variables",
    [
        {},
        tasks(1),
        tasks(1, JOB_NAME="interactive"),
        tasks(4, JOB_NAME="bash"),  # a shell in an allocation
        tasks(4, STEP_NUM_TASKS=1),  # srun --ntasks=1 within it
        {"RANK": "3", "WORLD_SIZE": "1"},
        {"LOCAL_RANK": "1", "WORLD_SIZE": "x"},
        {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "none"},
    ],
)
def test_a_process_that_was_started_alone_starts_the_others(set_environment, variables):
    set_environment(variables)
    assert find_launcher() is None
    rank_zero_only.rank = 3  # as Lightning takes it from RANK
    join_processes(2)
    assert rank_zero_only.rank == 0
    assert Path(os.environ.pop("DEEPLAB_STORE")).exists()
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"} & set(os.environ)


@pytest.mark.parametrize(
    "variables",
    [
        tasks(2, 1),
        tasks(8, 1, STEP_NUM_TASKS=2, STEP_NUM_NODES=1, NNODES=4),
        {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"},
        {**tasks(1), "LOCAL_RANK": "1", "WORLD_SIZE": "2"},  # started by the first process
    ],
)
def test_a_process_that_was_started_with_others_joins_them(set_environment, variables):
    set_environment(variables)
    join_processes(2)
    assert rank_zero_only.rank == 1
    assert os.environ["LOCAL_RANK"] == "1"
    assert os.environ["WORLD_SIZE"] == "2"
    with pytest.raises(UserError, match=r"^trainer\.devices=1: \w+ has started 2 processes \(\w+="):
        join_processes(1)
    assert find_launcher().processes == 2


@pytest.mark.parametrize(
    "variables",
    [
        tasks(2, 1, NNODES=2),
        tasks(2, 1, STEP_NUM_NODES=2),
        {"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "2"},
        {"LOCAL_RANK": "0", "NODE_RANK": "1", "WORLD_SIZE": "2"},
    ],
)
def test_several_machines(set_environment, variables):
    set_environment(variables)
    with pytest.raises(UserError, match=r"trainer.num_nodes=1: .* processes on 2 machines"):
        join_processes(2)
    join_processes(1, machines=2)
    with pytest.raises(UserError, match="2 machines have 6 devices"):
        join_processes(3, machines=2)


def test_several_machines_need_a_launcher(set_environment):
    set_environment({})
    with pytest.raises(UserError, match="srun --nodes=2 --ntasks-per-node=4"):
        join_processes(4, machines=2)


def test_only_one_process_of_several_machines_is_the_first(set_environment):
    ranks = []
    for node, local in ((0, 0), (0, 1), (1, 0), (1, 1)):
        # SLURM numbers tasks in turns over the machines with --distribution=cyclic
        set_environment(tasks(4, 2 * local + node, NNODES=2, NODEID=node, LOCALID=local))
        del os.environ["MASTER_ADDR"]
        join_processes(2, machines=2)
        assert os.environ["MASTER_ADDR"] == "node07"
        assert os.environ["RANK"] == str(2 * node + local)
        ranks.append(rank_zero_only.rank)
        assert is_first_process() == (ranks[-1] == 0)
        join_processes(2, machines=2)  # a run asks more than once
    assert ranks == [0, 1, 2, 3]


def listening_addresses(processes):
    """Return the addresses at which some processes listen, as in ``/proc/net/tcp``."""
    own = set()
    for process in processes:
        for link in Path(f"/proc/{process}/fd").iterdir():
            try:
                own.add(str(link.readlink()))
            except OSError:  # closed since
                continue
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
    ]
    return [f[1].rpartition(":")[0] for f in lines if f[3] == "0A" and f"socket:[{f[9]}]" in own]


@pytest.mark.processes
def test_processes_listen_on_the_loopback_address_only_and_are_watched(tmp_path, monkeypatch):
    """Leftovers of another job name another address; the job has one task of SLURM.

    At the end the second process is killed.
    """
    for name, value in {**LEFTOVERS, **tasks(1), "RANK": "1", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    steps = ("stage.max_steps=1000", "trainer.num_checkpoints=1000", "trainer.devices=2")
    first = start_training(
        *SMALL, *steps, "trainer.num_validations=1", "trainer.log_every_n_steps=1", cwd=tmp_path
    )
    try:
        wait_for_step(tmp_path, 2, first)
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        addresses = listening_addresses([first.pid, *children])
        assert len(children) == 1
        assert len(addresses) > 1  # of the store and of gloo
        assert set(addresses) == {"0100007F"}
        os.kill(int(children[0]), signal.SIGKILL)
        output, _ = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == 2
    assert "trainer.devices=2: process 1 of this run was ended by SIGKILL" in output
    assert "Traceback" not in output
    (folder,) = run_folders(tmp_path)
    assert not (folder / "lock").exists()
    (session,) = json.loads((folder / "run.json").read_text())["sessions"]
    assert session["machine"]["devices"] == 2, output


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


@pytest.mark.processes
@pytest.mark.long
def test_srun_and_torchrun_train_the_same_run(tmp_path):
    """Two processes on one machine, or one on each of two, against those that a run starts.

    Validations come after two and four steps, and by another call of the trainer for the last one.
    There is one validation image, so that one process has none.
    """
    small = [s for s in SMALL if "steps" not in s and "num_val" not in s]
    small += ["stage.max_steps=5", "trainer.num_validations=2", "data.num_val=1"]
    small.append(f"data.root={tmp_path}/shapes")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node"]
    meeting = ["1", "--nnodes=2", "--master_addr=127.0.0.1", f"--master_port={free_port()}"]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    one, two = ["trainer.devices=2"], ["trainer.num_nodes=2", "trainer.devices=1"]
    started = {
        "srun": [([sys.executable], tasks(2, rank), one) for rank in range(2)],
        "torchrun": [([*torchrun, "2"], {}, one)],
        "srun, two machines": [
            (
                [sys.executable],
                tasks(2, rank, NNODES=2, NODEID=rank, LOCALID=0, NTASKS_PER_NODE=1) | address,
                two,
            )
            for rank in range(2)
        ],
        "torchrun, two machines": [
            ([*torchrun, *meeting, f"--node_rank={node}"], {}, two) for node in range(2)
        ],
    }
    (tmp_path / "own").mkdir()
    run("train", *small, *one, cwd=tmp_path / "own", variables=tasks(1))
    (expected,) = run_folders(tmp_path / "own")
    for launcher, processes in started.items():
        cwd = tmp_path / launcher
        cwd.mkdir()
        script = [str(ROOT / "src/train.py"), *small]
        running = [
            subprocess.Popen([*prefix, *script, *overrides], cwd=cwd, env=environment() | variables)
            for prefix, variables, overrides in processes
        ]
        assert [process.wait(timeout=120) for process in running] == [0] * len(running)
        (folder,) = run_folders(cwd)
        assert folder.name == expected.name
        weights, reference = (load_file(f / "weights.safetensors") for f in (folder, expected))
        assert all(torch.equal(weights[name], reference[name]) for name in reference)


@pytest.mark.processes
@pytest.mark.long
def test_srun_runs_a_sweep(tmp_path):
    """Each job is evaluated by the first task, and the other one joins the next job after that."""
    script = [sys.executable, str(ROOT / "src/train.py"), "-m", *SMALL, "trainer.devices=2"]
    jobs = ["seed=1,2", "strategies=[single-scale,os8-ms-flip]", f"data.root={tmp_path}/shapes"]
    running = [
        subprocess.Popen(
            [*script, *jobs],
            cwd=tmp_path,
            env=environment() | tasks(2, rank),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    first, second = (process.communicate(timeout=240)[0] for process in running)
    assert [process.returncode for process in running] == [0, 0], first + second
    assert second == ""
    assert first.count("Job ") == 2
    assert "Not done" not in first
    folders = run_folders(tmp_path)
    assert len(folders) == 2
    for folder in folders:
        assert len([*(folder / "evaluations").iterdir()]) == 2
    (report,) = tmp_path.glob("runs/sweeps/*/report.md")
    assert "seeds 1, 2" in report.read_text()


@pytest.mark.parametrize("name", ["torchrun", "optuna"])
def test_sweeps_that_several_processes_cannot_run(tmp_path, name):
    if name == "optuna":
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
        keys, variables = ["hydra/sweeper=optuna", "seed=range(0,3)"], tasks(2, 1)
    else:
        keys, variables = ["seed=1,2"], {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
    done = run("train", "-m", *SMALL, *keys, cwd=tmp_path, variables=variables, ok=False)
    assert done.returncode == 2
    assert "has started 2 processes, which cannot run these jobs together" in done.stderr
    assert "Traceback" not in done.stderr
    assert not run_folders(tmp_path)


def test_another_number_of_tasks_than_devices(tmp_path):
    done = run("train", *SMALL, cwd=tmp_path, variables=tasks(2), ok=False)
    assert done.returncode == 2
    assert "trainer.devices=1: srun has started 2 processes (SLURM_NTASKS=2)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not run_folders(tmp_path)


@pytest.mark.processes
def test_the_error_of_several_processes_is_printed_once(tmp_path):
    done = run("train", *SMALL, "trainer.devices=2", "stage.lr=1e30", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert done.stderr.count("The loss of step 2 is not finite") == 1
    assert "Traceback" not in done.stderr


SIGNAL_WHILE_LOADING = f"""
import os, runpy, signal, sys
sys.path.insert(0, {str(ROOT / "src")!r})
from deeplab.data.datamodules import SegmentationData
from deeplab.utils.parallel import is_first_process
original = SegmentationData.train_dataloader
def train_dataloader(self):
    if is_first_process():
        os.kill(os.getpid(), signal.SIGTERM)
    return original(self)
SegmentationData.train_dataloader = train_dataloader
sys.argv[0] = {str(ROOT / "src/train.py")!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.processes
def test_a_signal_before_the_first_step_stops_all_processes(tmp_path):
    """Lightning's handler would communicate with the other process, and both would hang."""
    script = tmp_path / "signal_while_loading.py"
    script.write_text(SIGNAL_WHILE_LOADING)
    done = subprocess.run(
        [sys.executable, script, *SMALL, "trainer.devices=2"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 130, done.stdout + done.stderr
    (folder,) = run_folders(tmp_path)
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 1
