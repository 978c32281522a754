"""The devices of a job of a sweep: one, or several in a process of its own.

On several devices Lightning starts the other processes by running the command line of the first one
again. That of a sweep is the whole sweep, and a launcher's worker has another.
"""

import atexit
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import torch
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from deeplab.config.paths import ROOT
from deeplab.config.schema.trainer import TrainerConfig
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import InProgress, locked


def ran_alone(trainer: TrainerConfig) -> bool:
    """Run the present job to its end in another process, if it is one of a sweep and on several
    devices; one on a single GPU takes that.

    Raises:
        UserError: the process has failed, and has said how.
        KeyboardInterrupt: this process was told to stop, and has passed it on.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return False
    if trainer.devices == 1:
        if trainer.accelerator != "cpu":
            use_own_gpu(HydraConfig.get().job.num)
        return False
    _run_alone(HydraConfig.get())
    return True


def _run_alone(job: HydraConf) -> None:
    command = [sys.executable, str(ROOT / "src" / "train.py"), *job.overrides.task]
    sys.stdout.flush()
    status = _Child(command, Path(job.runtime.cwd)).wait()
    if status < 0:
        raise UserError(f"its process was ended by {signal.Signals(-status).name}.")
    if status:
        raise UserError(f"its process ended with status {status}; what it said is above.")


class _Child:
    """A process that gets the signals to stop that this one gets."""

    def __init__(self, command: Sequence[str], cwd: Path) -> None:
        self.command, self.cwd = command, cwd
        self.process: subprocess.Popen[bytes] | None = None
        self.asked: list[int] = []

    def wait(self) -> int:
        """Start it; returns its exit status."""
        before = {s: signal.signal(s, self._pass_on) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            # a group of its own, or it would get a Ctrl-C twice, which stops it at once
            self.process = subprocess.Popen(
                self.command, cwd=self.cwd, env=environment(), process_group=0
            )
            for number in self.asked:
                self.process.send_signal(number)
            status = self.process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.asked:
            raise KeyboardInterrupt
        return status

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.asked.append(number)
        if self.process:
            self.process.send_signal(number)


VISIBLE = "CUDA_VISIBLE_DEVICES"

_outer: list[str | None] = []
"""What ``VISIBLE`` was, once this process has chosen."""


def use_own_gpu(job: int) -> None:
    """Let this process see one GPU, which no other process of a sweep has, until it ends.

    To be called before CUDA is initialized, which stays with what it saw then: the later jobs of a
    process have the GPU of the first one.

    Args:
        job: its number, by which GPUs are shared where there are more processes than GPUs.
    """
    if _outer or torch.cuda.device_count() < 2:
        return
    gpus = _visible()
    own = next((gpu for gpu in gpus if _take(gpu)), None)
    shared = gpus[job % len(gpus)]
    _outer.append(os.environ.get(VISIBLE))
    os.environ[VISIBLE] = own or shared
    if own is None:
        print(f"GPU:        {shared}, shared, since other jobs have all {len(gpus)}", flush=True)
    else:
        print(f"GPU:        {own} (of {', '.join(gpus)})", flush=True)


def environment() -> dict[str, str]:
    """The environment of a process that is to see all GPUs that this one saw at first."""
    variables = dict(os.environ)
    if _outer:
        del variables[VISIBLE]
        if _outer[0] is not None:
            variables[VISIBLE] = _outer[0]
    return variables


def _visible() -> list[str]:
    count = torch.cuda.device_count()
    named = os.environ.get(VISIBLE)
    return [n.strip() for n in named.split(",")][:count] if named else [*map(str, range(count))]


def _take(gpu: str) -> bool:
    """Lock a GPU for the life of this process, or find that another one has it."""
    folder = Path(tempfile.gettempdir()) / f"deeplab-gpus-{os.getuid()}"
    lock = ExitStack()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        lock.enter_context(locked(folder / gpu.replace("/", "-"), "", wait=False))
    except (InProgress, OSError):
        return False
    atexit.register(lock.close)
    return True
