"""How the processes of a run on several devices are started, find each other and end."""

import atexit
import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch import distributed

from deeplab.training.processes import LOOPBACK, STORE, find_launcher, number_of
from deeplab.utils.errors import UserError
from deeplab.utils.interrupts import POLL_INTERVAL, describe_signal
from deeplab.utils.parallel import is_first_process
from deeplab.utils.program import child_command, pythonpath

FAILURE_TIMEOUT = 10.0
"""Seconds within which the failure of one process of a run reaches the others."""

END = "deeplab_end"
"""Key of the store that the first process sets at its end."""

LOCAL_NAMES = (LOOPBACK, "localhost", "::1")
"""Addresses by which processes of one machine connect."""


class ProcessEnvironment(LightningEnvironment):
    """Processes that the first one or ``srun`` has started.

    Those that the first one starts find each other by a file: PyTorch's store on a port would look
    up the name of the address. Those of ``srun`` know nothing in common but an address and a port.

    Args:
        machines: number of machines; on one, the processes connect by the loopback address only.
    """

    def __init__(self, machines: int) -> None:
        super().__init__()
        self.machines = machines

    @property
    def main_address(self) -> str:
        return os.environ.get("MASTER_ADDR", LOOPBACK) if self.machines > 1 else LOOPBACK

    @property
    def main_port(self) -> int:
        return number_of("MASTER_PORT", 0)

    def open_store(self, rank: int, world_size: int, timeout: timedelta) -> Any:
        """Return the store by which the processes find each other.

        Raises:
            UserError: its port is not free.
        """
        if STORE in os.environ:
            store = distributed.FileStore(os.environ[STORE], world_size)  # type: ignore[attr-defined]
            store.set_timeout(timeout)
            return store
        listener = None
        if rank == 0:
            try:
                address = LOOPBACK if self.main_address in LOCAL_NAMES else ""
                listener = socket.create_server((address, self.main_port)).detach()
            except OSError as error:
                raise UserError(
                    f"MASTER_PORT={self.main_port}: the processes of this run cannot connect there "
                    f"({error.strerror}). Set MASTER_PORT to a free port."
                ) from None
        return distributed.TCPStore(  # type: ignore[attr-defined]
            self.main_address,
            self.main_port,
            world_size,
            is_master=rank == 0,
            timeout=timeout,
            master_listen_fd=listener,
        )


class ProcessLauncher(_SubprocessScriptLauncher):
    """Starts the other processes of a run, and ends the run if one of them fails.

    (Lightning's watcher would kill the first process without a word.)

    Args:
        strategy: the strategy of the run.
        record: file in which a process leaves its error.
    """

    def __init__(self, strategy: DDPStrategy, record: Path) -> None:
        assert strategy.cluster_environment is not None
        super().__init__(strategy.cluster_environment, strategy.num_processes, strategy.num_nodes)
        self.record = record
        self._is_ending = False

    def launch(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Start the processes, at the first call, and call a function of the trainer."""
        if not self.procs:
            self._call_children_scripts()
            Thread(target=self._watch, daemon=True).start()
        del kwargs["trainer"]
        return function(*args, **kwargs)

    def _call_children_scripts(self) -> None:
        """Start this program again for each other process, however and wherever it was started."""
        variables = os.environ | {
            "PYTHONPATH": pythonpath(),
            "NODE_RANK": "0",
            "WORLD_SIZE": str(self.num_processes),
        }
        for rank in range(1, self.num_processes):
            environment = variables | {"LOCAL_RANK": str(rank)}
            self.procs.append(subprocess.Popen(child_command(), env=environment))

    def kill(self, signum: Any) -> None:
        """End the other processes, as the end of an interrupted run does."""
        self._is_ending = True
        super().kill(signum)

    def failure(self, timeout: float) -> Exception | None:
        """Return the error of a process that has failed or fails within some seconds, or None."""
        self._is_ending = True
        end = time.monotonic() + timeout
        while not (failed := self._failed()) and time.monotonic() < end:
            time.sleep(POLL_INTERVAL)
        return self._describe(*failed) if failed else None

    def _failed(self) -> tuple[int, int] | None:
        """Return rank and exit status of a process that has failed."""
        statuses = ((rank, process.poll()) for rank, process in enumerate(self.procs, 1))
        return next(((rank, status) for rank, status in statuses if status), None)

    def _describe(self, rank: int, status: int) -> Exception:
        process = f"trainer.devices={self.num_processes}: process {rank} of this run"
        if status < 0:
            return UserError(
                f"{process} was ended by {describe_signal(status)}. Run the same command to go on "
                "from the last checkpoint."
            )
        text = self.record.read_text() if self.record.is_file() else "see its message above"
        _, is_user_error, message = text.rpartition("UserError: ")
        return UserError(message.strip()) if is_user_error else RuntimeError(f"{process}: {text}")

    def _watch(self) -> None:
        """End this process too if it waits forever for one that has failed."""
        while not (failed := self._failed()):
            time.sleep(POLL_INTERVAL)
        time.sleep(FAILURE_TIMEOUT)
        if not self._is_ending:
            print(f"Error: {self._describe(*failed)}", file=sys.stderr, flush=True)
            os._exit(1)


class ProcessStrategy(DDPStrategy):
    """DistributedDataParallel whose processes on one machine listen on the loopback address only.

    PyTorch's own store listens on all addresses, and gloo looks up the name of the machine.

    Args:
        record: file in which a process leaves its error.
        options: arguments of ``DistributedDataParallel``.
    """

    def __init__(self, record: Path, **options: Any) -> None:
        super().__init__(**options)
        self.record = record

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        if not self.cluster_environment.creates_processes_externally:
            self._launcher = ProcessLauncher(self, self.record)

    def setup_distributed(self) -> None:
        """Connect the processes before Lightning would."""
        environment = self.cluster_environment
        assert environment is not None
        if self.num_nodes == 1 or environment.main_address in LOCAL_NAMES:
            interface = next(n for _, n in socket.if_nameindex() if n in ("lo", "lo0"))
            os.environ |= {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}
        if isinstance(environment, ProcessEnvironment) and not distributed.is_initialized():
            self.set_world_ranks()
            self._connect(environment)
        super().setup_distributed()

    def _connect(self, environment: ProcessEnvironment) -> None:
        rank, world_size = self.global_rank, self.world_size
        timeout = self._timeout or distributed.default_pg_timeout
        cuda = self.root_device.type == "cuda"
        distributed.init_process_group(
            self._get_process_group_backend(),
            store=environment.open_store(rank, world_size, timeout),
            rank=rank,
            world_size=world_size,
            timeout=timeout,
            device_id=self.root_device if cuda else None,
        )
        if cuda:
            atexit.register(distributed.destroy_process_group)


def end_together() -> None:
    """Let the processes that ``srun`` has started wait until the first one has written all.

    It alone evaluates. A process that went on to the next job of a sweep would meet it there.
    """
    if not distributed.is_initialized():
        return
    store = distributed.distributed_c10d._get_default_store()
    if is_first_process():
        store.set(END, "")
        return
    gc.collect()
    torch.cuda.empty_cache()  # for the evaluations
    with suppress(RuntimeError):  # the first process has ended
        store.wait([END], timedelta(days=365))


@contextmanager
def report_failed_process(trainer: Trainer) -> Iterator[None]:
    """Replace an error of the block by that of another process which has failed before."""
    try:
        yield
    except UserError:  # the other processes have it too, or follow
        raise
    except Exception:
        launcher = trainer.strategy.launcher
        failed = isinstance(launcher, ProcessLauncher) and launcher.failure(FAILURE_TIMEOUT)
        if failed:
            raise failed from None
        raise


def environment_plugin(machines: int) -> ProcessEnvironment | TorchElasticEnvironment:
    """Return how Lightning finds the processes; torchrun's have their own store."""
    launcher = find_launcher()
    if launcher and launcher.name == "torchrun" and distributed.is_torchelastic_launched():
        return TorchElasticEnvironment()
    return ProcessEnvironment(machines)
