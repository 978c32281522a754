"""The devices of a job of a sweep: one, or several in a process of its own.

On several devices Lightning starts the other processes by running the command line of the first one
again. That of a sweep is the whole sweep, and a launcher's worker has another.
"""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from deeplab.cli import ROOT
from deeplab.config import TrainerConfig
from deeplab.errors import UserError
from deeplab.training.gpus import environment, use_own_gpu


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
