"""Hydra's Optuna sweeper (``hydra/sweeper=optuna``) with the objective of ``deeplab train``.

The package's own sweeper minimizes, ends the study with the first failed job, and runs all trials
again when a study is resumed. It is used as it is; this one sets its direction and the number of
trials that are left, and hands it the results of jobs so that a failed one is a failed trial.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from deeplab.config.hydra_app import JobFailedError
from deeplab.utils.errors import UserError
from deeplab.utils.program import pythonpath
from hydra_plugins.checked_sweepers import (
    check_launcher,
    check_training,
    compose_job,
    register,
    remove_sweep_folder,
)

if TYPE_CHECKING:
    from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf
    from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper
else:
    try:
        from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf
        from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper
    except ImportError:  # not installed
        OptunaSweeperConf = OptunaSweeper = object

INSTALLED = OptunaSweeper is not object

if INSTALLED:

    @dataclass
    class ObjectiveSweeperConf(OptunaSweeperConf):
        """Keys of the Optuna sweeper with other defaults."""

        _target_: str = "hydra_plugins.optuna_objective.ObjectiveSweeper"
        direction: Any = None
        n_jobs: int = 1
        max_failure_rate: float = 1.0

    register("optuna_objective", ObjectiveSweeperConf)

    class ObjectiveSweeper(OptunaSweeper):
        """Optuna sweeper of ``deeplab train``."""

        def setup(
            self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
        ) -> None:
            """Let failed jobs be failed trials."""
            super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
            self.sweeper.launcher = _TolerantLauncher(self.sweeper.launcher)

        def sweep(self, arguments: list[str]) -> None:
            """Run the trials of the study that are left, and name the best run."""
            os.environ["PYTHONPATH"] = pythonpath()  # workers of launchers unpickle jobs
            check_launcher(several_tasks=False)
            config = self.sweeper.config
            try:
                _run_study(self.sweeper, arguments)
            finally:
                remove_sweep_folder(config)


class _TolerantLauncher:
    """Launcher whose jobs fail by their results, also if it fails itself or there is no score."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        try:
            returns = self.launcher.launch(job_overrides, initial_job_idx=initial_job_idx)
        except Exception as error:  # for example, it lost a worker
            failed = JobFailedError(f"{type(error).__name__}: {error}")
            return [_failed(JobReturn(), failed) for _ in job_overrides]
        no_score = UserError("the run has no score")
        return [
            _failed(r, no_score)
            if r.status == JobStatus.COMPLETED and math.isnan(r.return_value)
            else r
            for r in returns
        ]


def _failed(job: JobReturn, error: Exception) -> JobReturn:
    job.status, job.return_value = JobStatus.FAILED, error
    return job


def _run_study(sweeper: Any, arguments: list[str]) -> None:
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    from deeplab.ablations.optuna_study import OptunaStudy, sample_overrides
    from deeplab.utils.file_lock import OWNER_PLACEHOLDER, locked

    typed = [*sweeper._parse_sweeper_params_config(), *arguments]
    distributions, fixed = create_params_from_overrides(typed)
    if both := sorted(distributions.keys() & fixed.keys()):
        raise UserError(f"{both[0]}: this key is set more than once. Keep one of them.")
    if not distributions:
        raise UserError(
            "hydra/sweeper=optuna: no key to search over. Name one, as in "
            "'stage.lr=tag(log,interval(0.001,0.1))'."
        )
    samples = sample_overrides(distributions, fixed)
    loader = sweeper.hydra_context.config_loader
    for overrides in samples:
        config = compose_job(loader, sweeper.config, overrides)
        check_training(config, sweeper.launcher.launcher)
    study = OptunaStudy(sweeper, distributions, fixed, samples[0])
    study.folder.mkdir(parents=True, exist_ok=True)
    busy = f"{study.folder}: this study is in progress in {OWNER_PLACEHOLDER}."
    with locked(study.folder / "lock", busy, wait=False):
        sweeper.n_trials = study.prepare()
        if sweeper.n_trials:
            study.run(arguments)
        study.report()
