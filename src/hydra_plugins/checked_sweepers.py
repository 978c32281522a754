"""Hydra sweepers that check all jobs of a multirun before the first one starts.

That of ``deeplab train`` runs the rows of tables, the paper's or those of the swept values, and
reports on them.
"""

import io
import logging
import os
import textwrap
import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, read_write

from deeplab.config.hydra_app import JobFailedError
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import LockedError
from deeplab.utils.parallel import is_first_process
from deeplab.utils.program import pythonpath
from deeplab.utils.text import format_duration

if TYPE_CHECKING:
    from deeplab.ablations.sweep import JobError, LaunchedJob


MAX_LINE = 100
"""Number of characters of a line that announces a job."""


@dataclass
class AblationSweeperConf:
    """Keys of the sweeper, those of Hydra's ``basic`` sweeper."""

    _target_: str = "hydra_plugins.checked_sweepers.AblationSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


@dataclass
class EvaluationSweeperConf(AblationSweeperConf):
    """Keys of the sweeper of evaluations, the same."""

    _target_: str = "hydra_plugins.checked_sweepers.EvaluationSweeper"


def register(name: str, node: type) -> None:
    """Make a sweeper known as ``hydra/sweeper=NAME``."""
    ConfigStore.instance().store(group="hydra/sweeper", name=name, node=node, provider="deeplab")


register("ablation", AblationSweeperConf)
register("evaluation", EvaluationSweeperConf)


class CheckedSweeper(BasicSweeper):
    """Hydra's basic sweeper, which finds a mistake in a job's config before any job runs."""

    def sweep(self, arguments: list[str]) -> Any:
        """Prepare for jobs in other processes, then run them."""
        if self.max_batch_size is not None and self.max_batch_size < 1:
            raise UserError(
                f"hydra.sweeper.max_batch_size={self.max_batch_size}: expected 1 or more, or null."
            )
        os.environ["PYTHONPATH"] = pythonpath()  # workers of launchers unpickle jobs
        return self._run([*self._parse_config(), *arguments])

    @abstractmethod
    def _run(self, arguments: list[str]) -> Any:
        """Run the jobs of all overrides."""

    def _loader(self) -> ConfigLoader:
        assert self.hydra_context is not None
        return self.hydra_context.config_loader

    def _check(self, overrides: Sequence[str]) -> None:
        """Raise UserError if a job cannot run."""
        assert self.config is not None
        self._check_config(compose_job(self._loader(), self.config, overrides))

    @abstractmethod
    def _check_config(self, config: DictConfig) -> None:
        """Raise UserError if a job with this config cannot run."""


class EvaluationSweeper(CheckedSweeper):
    """Sweeper of ``deeplab evaluate``."""

    def _run(self, arguments: list[str]) -> Any:
        """Launch all jobs; results lie in the runs, and Hydra's own record is not kept."""
        parser = OverridesParser.create(config_loader=self._loader())
        jobs = [
            job
            for batch in self.split_arguments(parser.parse_overrides(arguments), None)
            for job in batch
        ]
        if not jobs:
            raise UserError(f"{' '.join(arguments)}: there is no run with these values.")
        for overrides in jobs:
            self._check(overrides)
        assert self.config is not None
        with TemporaryDirectory() as folder, read_write(self.config):
            self.config.hydra.sweep.dir = folder
            self.params = {}  # they are among the arguments
            return BasicSweeper.sweep(self, [*arguments, f"hydra.sweep.dir='{folder}'"])

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: the jobs are checked already, and Hydra would compose each again."""

    def _check_config(self, config: DictConfig) -> None:
        from deeplab.config.parsing import parse
        from deeplab.config.schema.scripts import EvaluateConfig
        from deeplab.evaluation.evaluate import check_evaluation

        check_evaluation(parse(EvaluateConfig, config))


class AblationSweeper(CheckedSweeper):
    """Sweeper of ``deeplab train``: jobs of tables or of variants, then the report."""

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=max_batch_size, params=params)
        self._launched = 0
        self._seconds: list[float] = []
        """Duration of each job that has ended without an error."""

    def _run(self, arguments: list[str]) -> Any:
        from deeplab.ablations.run_tables import run_tables

        assert self.config is not None
        check_launcher(several_tasks=True)
        output = nullcontext() if is_first_process() else redirect_stdout(io.StringIO())
        try:
            with output:  # that of further tasks of srun is the same
                run_tables(arguments, self._check, self._launch)
        finally:
            remove_sweep_folder(self.config)
        return []

    def _check_config(self, config: DictConfig) -> None:
        check_training(config, self.launcher)

    def _launch(self, jobs: Sequence["LaunchedJob"]) -> list["JobError | None"]:
        """Run jobs, ``max_batch_size`` at a time; return the error of each, or None.

        Hydra's own launcher runs one after the other in any case, and each is announced.
        """
        sequential = isinstance(self.launcher, BasicLauncher)
        size = 1 if sequential else self.max_batch_size or max(1, len(jobs))
        if sequential:
            logging.getLogger(BasicLauncher.__module__).setLevel(logging.WARNING)
        errors: list[JobError | None] = []
        for start in range(0, len(jobs), size):
            if sequential:
                print(self._announce(jobs[start]), flush=True)
                self._launched = jobs[start].number - 1
            errors += self._launch_batch([job.overrides for job in jobs[start : start + size]])
        return errors

    def _announce(self, job: "LaunchedJob") -> str:
        """Return a line about a job, with the time left if the jobs before tell it."""
        left = f"Job {job.number} of {job.total}"
        if self._seconds:
            remaining = job.total - job.number + 1
            left += f", about {format_duration(mean(self._seconds) * remaining)} left"
        return textwrap.shorten(f"{left}: {job.title}", MAX_LINE, placeholder=" ...")

    def _launch_batch(self, jobs: Sequence[Sequence[str]]) -> list["JobError | None"]:
        assert self.launcher is not None
        first, self._launched = self._launched, self._launched + len(jobs)
        started = time.monotonic()
        try:
            results = self.launcher.launch([list(job) for job in jobs], initial_job_idx=first)
        except Exception as error:  # the launcher itself failed, for example it lost a worker
            return [_job_error(error)] * len(jobs)
        errors = [_result_error(result) for result in results]
        if not any(errors):
            self._seconds.append(time.monotonic() - started)
        return errors


def check_launcher(*, several_tasks: bool) -> None:
    """Raise UserError if the processes that a launcher has started cannot run a sweep together.

    Args:
        several_tasks: whether several tasks of ``srun`` can.
    """
    if not {"WORLD_SIZE", "SLURM_PROCID"} & os.environ.keys():
        return
    from deeplab.training.processes import find_launcher  # imports Lightning

    launcher = find_launcher()
    if launcher and not (several_tasks and launcher.name == "srun"):
        raise UserError(
            f"{launcher.count_variable}={launcher.processes}: {launcher.name} has started "
            f"{launcher.processes} processes, which cannot run these jobs together. Start one; on "
            "a machine with several devices it starts the others itself (trainer.devices)."
        )


def compose_job(loader: ConfigLoader, sweep: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return the config of a sweep's job."""
    from deeplab.config.compose import without_hydra

    config = loader.load_sweep_config(sweep, list(overrides))
    config.hydra.job.num = 0
    config.hydra.job.id = "check"
    return without_hydra(config)


def remove_sweep_folder(config: DictConfig) -> None:
    """Remove Hydra's folder of a sweep, unless a launcher has written its logs there.

    Those of killed sweeps go too; one in progress makes its own again where it needs it.
    """
    folder = Path(config.hydra.sweep.dir)
    parents = [folder.parent] if folder.parent.name == ".multirun" else []
    for empty in (folder, *(f for parent in parents for f in parent.glob("*")), *parents):
        with suppress(OSError):
            empty.rmdir()


def check_training(config: DictConfig, launcher: Launcher | None) -> None:
    """Raise UserError if a training with this config cannot run by a launcher."""
    from deeplab.evaluation.after_training import check_evaluations
    from deeplab.training.validate_config import check_train
    from deeplab.utils.files import check_writable

    checked = check_train(config)
    check_evaluations(checked)
    check_writable(Path(checked.runs_dir), f"runs_dir={checked.runs_dir}")
    if isinstance(launcher, BasicLauncher):  # others may run jobs on other machines
        from deeplab.training.gpu_selection import check_gpu

        check_gpu(checked.trainer)


def _result_error(result: JobReturn) -> "JobError | None":
    return None if result.status == JobStatus.COMPLETED else _job_error(result._return_value)


def _job_error(error: Exception) -> "JobError":
    from deeplab.ablations.sweep import JobError

    has_message = isinstance(error, UserError | JobFailedError)
    message = str(error) if has_message else f"{type(error).__name__}: {error}"
    status = 2 if isinstance(error, UserError) else 1
    return JobError(message, status, in_other_process=isinstance(error, LockedError))
