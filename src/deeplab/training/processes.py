"""Processes of a run on several devices: who starts them, and how many there are.

On one machine the first process starts the others, unless ``srun`` or ``torchrun`` has started all
of them; on several machines one of these must. Variables that other jobs have left in the
environment do not count.
"""

import atexit
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only

from deeplab.utils.errors import UserError
from deeplab.utils.interrupts import is_running

LOOPBACK = "127.0.0.1"

STORE = "DEEPLAB_STORE"
"""Variable with the path of the file by which the processes of a run find each other."""

LAUNCHER_VARIABLES = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "TORCHELASTIC_RUN_ID",
)
"""Variables by which ``torchrun`` and Lightning number processes and name their group."""

INTERACTIVE_JOBS = ("bash", "interactive")
"""Names of SLURM jobs that are a shell, whose variables do not describe this process."""


class Launcher(NamedTuple):
    """Program that has started this process together with others."""

    name: str
    processes: int
    """Number of processes on all machines together."""
    machine: int
    """Number of this machine; the first is 0."""
    local_rank: int
    """Number of this process on its machine."""
    machines: int
    count_variable: str
    """Variable that has the number of processes."""


def find_launcher() -> Launcher | None:
    """Return the launcher that has started this process as one of several."""
    processes = number_of("WORLD_SIZE", 1)
    if processes > 1 and ("RANK" in os.environ or "LOCAL_RANK" in os.environ):
        machine = number_of("GROUP_RANK", number_of("NODE_RANK", 0))
        machines = max(number_of("GROUP_WORLD_SIZE", 1), machine + 1)
        rank = number_of("LOCAL_RANK", number_of("RANK", 0))
        return Launcher("torchrun", processes, machine, rank, machines, "WORLD_SIZE")
    variable = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in os.environ else "SLURM_NTASKS"
    tasks, name = number_of(variable, 1), os.environ.get("SLURM_JOB_NAME")
    if tasks > 1 and "SLURM_PROCID" in os.environ and name not in INTERACTIVE_JOBS:
        machines = number_of("SLURM_STEP_NUM_NODES", number_of("SLURM_NNODES", 1))
        machine, rank = number_of("SLURM_NODEID", 0), number_of("SLURM_LOCALID", 0)
        return Launcher("srun", tasks, machine, rank, machines, variable)
    return None


def number_of(variable: str, default: int) -> int:
    """Return the number that a variable of the environment has."""
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() else default


def join_processes(devices: int, machines: int = 1) -> None:
    """Find the number of this process, and check that there are as many as devices.

    Args:
        devices: number of devices of each machine.
        machines: number of machines.

    Raises:
        UserError: another program has started another number of processes.
    """
    launcher = find_launcher()
    if launcher is None:
        if machines > 1:
            raise UserError(
                f"trainer.num_nodes={machines}: this process was started alone. Start one for each "
                f"device of each machine: srun --nodes={machines} --ntasks-per-node={devices}, or "
                f"on each machine torchrun --nnodes={machines} --nproc_per_node={devices}."
            )
        for variable in LAUNCHER_VARIABLES:
            os.environ.pop(variable, None)
        if devices > 1:
            os.environ[STORE] = _new_store()
        rank_zero_only.rank = 0  # type: ignore[attr-defined]
        return
    _check_counts(launcher, devices, machines)
    rank = launcher.machine * devices + launcher.local_rank
    rank_zero_only.rank = rank  # type: ignore[attr-defined]
    if launcher.name == "srun":
        _number_as_torchrun(launcher, rank)
        if rank == 0 and "SLURM_STEP_ID" not in os.environ:
            print(
                f"SLURM:      waiting for the other {launcher.processes - 1} of "
                f"{launcher.count_variable}={launcher.processes} tasks. If they do not start, put "
                "srun before the command, or set --ntasks=1."
            )


def _check_counts(launcher: Launcher, devices: int, machines: int) -> None:
    name, processes, variable = launcher.name, launcher.processes, launcher.count_variable
    if launcher.machines != machines:
        raise UserError(
            f"trainer.num_nodes={machines}: {name} has started processes on {launcher.machines} "
            f"machines. Set trainer.num_nodes={launcher.machines}, or start all processes on "
            f"{machines}."
        )
    if processes == devices * machines:
        return
    problem = (
        f"trainer.devices={devices}: {name} has started {processes} processes "
        f"({variable}={processes})"
    )
    if machines > 1:
        raise UserError(
            f"{problem}, but {machines} machines have {devices * machines} devices together. Start "
            "one process for each device."
        )
    raise UserError(
        f"{problem}. Set trainer.devices={processes}, start one process with "
        f"{'srun --ntasks=1' if name == 'srun' else 'python'}, or unset {variable} if another job "
        "has left it in the environment."
    )


def _number_as_torchrun(launcher: Launcher, rank: int) -> None:
    """Set for a task of ``srun`` what ``torchrun`` sets, and where the tasks meet.

    On several machines that is ``MASTER_ADDR`` or else the first machine of the job; the port
    follows from the job unless ``MASTER_PORT`` is set.
    """
    port = 15000 + number_of("SLURM_JOB_ID", 0) % 10000 + number_of("SLURM_STEP_ID", 0) % 1000
    for left in (STORE, "TORCHELASTIC_RUN_ID"):
        os.environ.pop(left, None)
    os.environ.setdefault("MASTER_PORT", str(port))
    if launcher.machines == 1:
        os.environ["MASTER_ADDR"] = LOOPBACK
    elif "MASTER_ADDR" not in os.environ:
        nodes = os.environ.get("SLURM_STEP_NODELIST", os.environ.get("SLURM_NODELIST", LOOPBACK))
        os.environ["MASTER_ADDR"] = SLURMEnvironment.resolve_root_node_address(nodes)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(launcher.local_rank),
        "GROUP_RANK": str(launcher.machine),
        "NODE_RANK": str(launcher.machine),
        "GROUP_WORLD_SIZE": str(launcher.machines),
        "WORLD_SIZE": str(launcher.processes),
    }


def _new_store() -> str:
    """Return the path of a new store, and remove the stores of killed processes."""
    prefix = f"deeplab-store-{os.getuid()}-"
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        owner = path.name.removeprefix(prefix).partition("-")[0]
        if owner.isdecimal() and not is_running(int(owner)):
            path.unlink(missing_ok=True)
    file, path_name = tempfile.mkstemp(prefix=f"{prefix}{os.getpid()}-")
    os.close(file)
    atexit.register(Path(path_name).unlink, missing_ok=True)
    return path_name
