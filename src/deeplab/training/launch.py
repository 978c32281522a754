"""Launching the jobs of a sweep: in this process, or in a subprocess for several devices.

On several devices Lightning starts the other processes by running the command line of the first
one again. In a sweep that command line is the whole sweep, and in a launcher's worker it is the
worker's. A job on several devices therefore runs in a subprocess with a command line of its own.
"""

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from hydra.core.hydra_config import HydraConfig
from pydantic import BaseModel, ConfigDict

from deeplab.config.hydra_app import JobFailedError, in_sweep
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.metrics.definitions import objective_metric
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import OVERWRITE_HINT, RunFolder
from deeplab.training.gpu_selection import select_gpu, subprocess_environment
from deeplab.utils.errors import UserError
from deeplab.utils.interrupts import describe_signal, handling_stop_signals, is_child
from deeplab.utils.parallel import is_first_process
from deeplab.utils.program import child_command

OUTCOME_FILE = "DEEPLAB_OUTCOME_FILE"
"""Variable with the path of the file to which a training's subprocess writes its outcome."""


class Outcome(BaseModel):
    """What the process that has started a training learns of it."""

    score: float
    """Main score; nan if the validation images have no label."""
    folder: Path
    """The run folder."""

    model_config = ConfigDict(ser_json_inf_nan="constants")


def run_in_subprocess_if_needed(trainer: TrainerSettings) -> float | None:
    """Run the current job in a subprocess if it belongs to a sweep and needs several devices.

    A job of a sweep on one GPU stays in this process and gets a GPU of its own.

    Returns:
        The score of the job that a subprocess has run; None if it must run in this process.

    Raises:
        UserError: the subprocess failed; its own output has the reason.
        KeyboardInterrupt: this process got a signal to stop, which it has passed on.
    """
    if not in_sweep():
        return None
    if trainer.devices == 1:
        if trainer.accelerator != "cpu":
            select_gpu(HydraConfig.get().job.num)
        return None
    job = HydraConfig.get()
    return run_in_subprocess(job.overrides.task, Path(job.runtime.cwd)).score


def report_score(folder: RunFolder, objective: str | None = None) -> float:
    """Return a score of a run, and write it for the process that has started this one.

    It is the one that a search optimizes, by default the main one. It is nan if the validation
    images have no label, and in all processes of a run but the first.
    """
    score = math.nan
    if is_first_process():
        result = Result.read(folder.result, f"{OVERWRITE_HINT}.")
        metric = objective_metric(objective, is_classifier=result.is_classifier)
        value = result.value(metric.key)
        score = math.nan if value is None else float(value)
    path = os.environ.get(OUTCOME_FILE)
    if path and not is_child():
        from deeplab.training.process_strategy import end_together

        end_together()
        outcome = Outcome(score=score, folder=folder.path.absolute())
        Path(path).write_text(outcome.model_dump_json())
    return score


def run_in_subprocess(overrides: Sequence[str], cwd: Path) -> Outcome:
    """Run ``deeplab train`` with these overrides in a process of its own.

    Raises:
        UserError: a mistake of the user ended it, or a signal; its own output has the reason.
        JobFailedError: another error did.
        KeyboardInterrupt: this process got a signal to stop, which it has passed on.
    """
    command = child_command("train", *overrides)
    sys.stdout.flush()
    with tempfile.NamedTemporaryFile("r") as file:
        os.environ[OUTCOME_FILE] = file.name
        try:
            status = _ChildProcess(command, cwd).run()
        finally:
            del os.environ[OUTCOME_FILE]
        outcome = file.read()
    if status < 0:
        raise UserError(f"its process was ended by {describe_signal(status)}.")
    if status:
        error = UserError if status == 2 else JobFailedError
        raise error(f"its process ended with status {status}. See its output above.")
    return Outcome.model_validate_json(outcome)


class _ChildProcess:
    """Subprocess that receives the stop signals of this process."""

    def __init__(self, command: Sequence[str], cwd: Path) -> None:
        self.command, self.cwd = command, cwd
        self.process: subprocess.Popen[bytes] | None = None
        self.signals: list[int] = []

    def run(self) -> int:
        """Run the subprocess to its end and return its exit status."""
        with handling_stop_signals(self._forward):
            # In its own process group: it would otherwise get each Ctrl-C twice and abort.
            self.process = subprocess.Popen(
                self.command, cwd=self.cwd, env=subprocess_environment(), process_group=0
            )
            for number in self.signals:
                self.process.send_signal(number)
            status = self.process.wait()
        if self.signals:
            raise KeyboardInterrupt
        return status

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)
        if self.process:
            self.process.send_signal(number)
