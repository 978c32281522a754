"""Hydra's basic sweeper, but every job of a multirun is checked before the first one starts, and
``ablation=...`` stands for the trainings of a table."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus

from deeplab.config.hydra_app import JobFailedError
from deeplab.config.paths import ROOT
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import LockedError

if TYPE_CHECKING:
    from deeplab.ablations.sweep import JobError


@dataclass
class AblationSweeperConf:
    """The keys of Hydra's own ``basic`` sweeper."""

    _target_: str = "hydra_plugins.ablation_sweeper.AblationSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="ablation", node=AblationSweeperConf, provider="deeplab"
)


class AblationSweeper(BasicSweeper):
    """Without it a mistake in the last job of a sweep shows when the others are done."""

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=max_batch_size, params=params)
        self._launched = 0

    def sweep(self, arguments: list[str]) -> Any:
        """Check all jobs, then launch them as the basic sweeper does."""
        from deeplab.ablations.request import names_tables

        _be_found_by_workers()
        if names_tables(arguments):
            from deeplab.ablations.run_tables import run_tables

            run_tables([*self._parse_config(), *arguments], self._check, self._launch)
            return []
        for overrides in self._jobs(arguments):
            self._check(overrides)
        return super().sweep(arguments)

    def _jobs(self, arguments: list[str]) -> list[Sequence[str]]:
        parser = OverridesParser.create(config_loader=self._loader())
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        return [job for batch in self.split_arguments(parsed, None) for job in batch]

    def _loader(self) -> ConfigLoader:
        assert self.hydra_context is not None
        return self.hydra_context.config_loader

    def _check(self, overrides: Sequence[str]) -> None:
        from deeplab.training.compose import without_hydra
        from deeplab.training.validate_config import check_train

        assert self.config is not None
        config = self._loader().load_sweep_config(self.config, list(overrides))
        config.hydra.job.num = 0
        config.hydra.job.id = "check"
        check_train(without_hydra(config))

    def _launch(self, jobs: Sequence[Sequence[str]]) -> list["JobError | None"]:
        """Run jobs, ``max_batch_size`` at a time; for each what went wrong with it."""
        size = self.max_batch_size or max(1, len(jobs))
        batches = [jobs[i : i + size] for i in range(0, len(jobs), size)]
        return [problem for batch in batches for problem in self._launch_batch(batch)]

    def _launch_batch(self, jobs: Sequence[Sequence[str]]) -> list["JobError | None"]:
        assert self.launcher is not None
        first, self._launched = self._launched, self._launched + len(jobs)
        try:
            results = self.launcher.launch([list(job) for job in jobs], initial_job_idx=first)
        except Exception as error:  # of the launcher, such as one that has lost a worker
            return [_problem_of(error)] * len(jobs)
        return [_problem(result) for result in results]


def _be_found_by_workers() -> None:
    """The processes of other launchers start from nothing, and take a job from a file."""
    here = str(ROOT / "src")
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *others])


def _problem(result: JobReturn) -> "JobError | None":
    return None if result.status == JobStatus.COMPLETED else _problem_of(result._return_value)


def _problem_of(error: Exception) -> "JobError":
    from deeplab.ablations.sweep import JobError

    said = isinstance(error, UserError | JobFailedError)
    text = str(error) if said else f"{type(error).__name__}: {error}"
    return JobError(text, elsewhere=isinstance(error, LockedError))
