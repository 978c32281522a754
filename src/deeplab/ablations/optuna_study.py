"""A study of Hydra's Optuna sweeper: its objective, the trials that are left, its best run."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import read_write

from deeplab.ablations.distinct_jobs import Job
from deeplab.ablations.run_index import Run, known_runs, make_fingerprint_lookup, make_run_finder
from deeplab.ablations.variants import SWEEPS, sweep_name
from deeplab.config.hydra_app import JobFailedError
from deeplab.config.schema.run import ClassifierConfig
from deeplab.metrics.definitions import objective_metric
from deeplab.training.compose_config import compose_train
from deeplab.utils.errors import UserError
from deeplab.utils.text import pluralize

NO_SCORE = (
    "hydra/sweeper=optuna: all trials have failed. Their errors are above, and in failure.txt of "
    "their runs."
)


def sample_overrides(distributions: Mapping[str, Any], fixed: Mapping[str, Any]) -> list[list[str]]:
    """Return overrides of trials with every choice and both ends of every range of one key each.

    Args:
        distributions: Optuna's distributions by the keys that are searched over.
        fixed: values of the other keys.
    """
    values = {
        key: list(getattr(d, "choices", ())) or [d.low, d.high] for key, d in distributions.items()
    }
    first = {key: found[0] for key, found in values.items()}
    samples = [first, *({**first, key: v} for key, found in values.items() for v in found[1:])]
    return [_overrides(fixed, sample) for sample in samples]


def _overrides(fixed: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    """Return the overrides of a trial as the sweeper writes them."""
    return [f"{key}={value}" for key, value in {**params, **fixed}.items()]


class OptunaStudy:
    """Study of the package's sweeper, whose direction and name it sets.

    Args:
        sweeper: the package's sweeper.
        distributions: distributions by the keys that are searched over.
        fixed: values of the other keys.
        sample: overrides of one trial.

    Raises:
        UserError: the direction is not that of the objective.
    """

    def __init__(
        self,
        sweeper: Any,
        distributions: Mapping[str, Any],
        fixed: Mapping[str, Any],
        sample: Sequence[str],
    ) -> None:
        self.sweeper, self.distributions, self.fixed = sweeper, distributions, fixed
        config = compose_train(sample)
        is_classifier = isinstance(config, ClassifierConfig)
        self.metric = objective_metric(config.objective, is_classifier=is_classifier)
        self.runs_dir = Path(config.runs_dir).expanduser()
        direction = "maximize" if self.metric.higher_is_better else "minimize"
        typed = getattr(sweeper.direction, "name", sweeper.direction)
        if typed not in (None, direction):
            raise UserError(
                f"hydra.sweeper.direction={typed}: {self.metric.logged_as} is to "
                f"{direction}. Leave it out, or set another objective=..."
            )
        sweeper.direction = direction
        sweeper.study_name = sweeper.study_name or self._default_name()
        self.folder = self.runs_dir / SWEEPS / sweeper.study_name.replace("/", "_")

    def _default_name(self) -> str:
        """Return a name that the same command has again: keys, and a hash of all values."""
        space = {key: repr(distribution) for key, distribution in self.distributions.items()}
        text = json.dumps([space, dict(self.fixed)], sort_keys=True, default=str)
        return sweep_name([*space], text)

    def prepare(self) -> int:
        """Return the number of trials that are left; interrupted ones are tried again first.

        This process is the only one that works on the study.
        """
        from optuna.storages import InMemoryStorage
        from optuna.trial import TrialState

        if self.sweeper.storage is None:
            self.sweeper.storage = InMemoryStorage()  # which outlives the sweeper's own study
        study = self._open()
        storage = getattr(study._storage, "_backend", study._storage)  # not a cache of it
        states = [trial.state for trial in study.trials]
        for trial in study.trials:
            if trial.state == TrialState.RUNNING:
                storage.set_trial_state(trial._trial_id, TrialState.WAITING)
        finished = sum(state.is_finished() for state in states)
        wanted = int(self.sweeper.n_trials)
        if isinstance(self.sweeper.sampler, partial):  # a grid
            choices = map(self.sweeper._to_grid_sampler_choices, self.distributions.values())
            wanted = min(wanted, math.prod(map(len, choices)))
        left = max(0, wanted - finished)
        if states:
            if hasattr(self.sweeper.sampler, "reseed_rng"):
                self.sweeper.sampler.reseed_rng()  # a seeded one would draw its first values again
            print(
                f"Study {self.sweeper.study_name}: {pluralize(finished, 'trial')} finished, "
                f"{left} to run",
                flush=True,
            )
        return left

    def _open(self) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            return optuna.create_study(
                study_name=self.sweeper.study_name,
                storage=self.sweeper.storage,
                directions=[self.sweeper.direction],
                load_if_exists=True,
            )
        except Exception as error:
            first_line = str(error).partition("\n")[0]
            raise UserError(
                f"hydra.sweeper.storage={self.sweeper.storage}: Optuna cannot use it "
                f"({type(error).__name__}: {first_line}). Check the address; with a database this "
                'version of Optuna needs pip install "sqlalchemy<2" "alembic<1.13".'
            ) from None

    def run(self, arguments: Sequence[str]) -> None:
        """Run the trials that are left.

        Raises:
            JobFailedError: all trials of the study have failed.
        """
        hydra = self.sweeper.config.hydra
        folder = hydra.sweep.dir
        with read_write(hydra):
            hydra.sweep.dir = str(self.folder)  # of the results that the sweeper writes
        try:
            self.sweeper.sweep([*arguments])
        except ValueError as error:
            if "No trials are completed" not in str(error):
                raise
            raise JobFailedError(NO_SCORE) from None
        except RuntimeError as error:
            if "Study.stop" not in str(error):  # of a grid whose last trial has failed
                raise
        finally:
            with read_write(hydra):
                hydra.sweep.dir = folder

    def report(self) -> None:
        """Print the best trial and its run.

        Raises:
            JobFailedError: all trials have failed.
        """
        from optuna.trial import TrialState

        study = self._open()
        trials = study.trials
        failed = sum(trial.state == TrialState.FAIL for trial in trials)
        try:
            best = study.best_trial
        except ValueError:  # no trial is complete
            raise JobFailedError(NO_SCORE) from None
        overrides = _overrides(self.fixed, best.params)
        run = self._find_run(overrides)
        params = " ".join(f"{key}={value}" for key, value in best.params.items())
        print(
            f"\nStudy {self.sweeper.study_name}: {pluralize(len(trials), 'trial')}"
            + (f", {failed} failed" if failed else "")
            + f"\nBest:   trial {best.number}, {self.metric.logged_as} "
            f"{best.value:.2f} %, {params}" + (f"\nRun:    {run.folder.path}" if run else "")
        )

    def _find_run(self, overrides: Sequence[str]) -> Run | None:
        job = Job(tuple(overrides), compose_train(overrides))
        # data.root may be searched over, and runs on several folders differ by their images alone
        fingerprints = make_fingerprint_lookup()
        return make_run_finder(known_runs(self.runs_dir), fingerprints, chosen=True)(job)
