"""Existing runs, and the search for the run of a job.

Neither torch nor the images are needed: a run is found by its recorded config and by the hash of
its initial weights, no matter how it was started.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from deeplab.ablations.distinct_jobs import Job, RowEvaluation
from deeplab.checkpoints.hub import NotDownloadedError
from deeplab.checkpoints.initialization import init_record
from deeplab.config.schema.run import RunConfig
from deeplab.data.layouts.base import data_fingerprint, open_layout
from deeplab.data.layouts.folder import FolderSettings
from deeplab.data.layouts.own import OwnDataSettings
from deeplab.data.settings import DataSettings, SyntheticSettings
from deeplab.evaluation.evaluation_folder import (
    Evaluation,
    EvaluationFolder,
    evaluation_name,
    read_evaluation,
)
from deeplab.tracking.evaluation_protocol import resolve_strategy_name
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import (
    OVERWRITE_HINT,
    RESTORE_HINT,
    SET_ASIDE_MARKER,
    RunFolder,
    chosen_keys,
    read_run,
    result_settings,
    settings_hash,
)
from deeplab.tracking.run_record import RunRecord, read_record
from deeplab.tracking.source_code import code_hash, trained_by_other_code
from deeplab.utils.errors import UserError, format_message
from deeplab.utils.file_lock import is_locked
from deeplab.utils.reading import exists, read_csv, read_text
from deeplab.utils.settings import find_holder

CurrentFingerprint = Callable[[DataSettings], str | None]
"""Function that returns the fingerprint of a config's current images; None if it is unknown."""

State = Literal["finished", "running", "failed", "interrupted"]


@dataclass(frozen=True)
class Run:
    """Run folder with its config."""

    folder: RunFolder
    config: RunConfig

    @cached_property
    def settings(self) -> str:
        """Hash of the config (``deeplab.tracking.run_folder.settings_hash``)."""
        return settings_hash(self.config)

    @cached_property
    def record(self) -> RunRecord:
        return read_record(self.folder)

    @cached_property
    def result(self) -> Result | None:
        """Result of the training; None before the run is finished."""
        if not self.folder.finished:
            return None
        return Result.read(self.folder.result, f"{OVERWRITE_HINT}.")

    @property
    def weights_sha256(self) -> str | None:
        """Hash of the final weights; None before the run is finished."""
        return self.result.weights_sha256 if self.result else None

    def made_by_other_code(self, evaluations: Iterable[Evaluation | None]) -> bool:
        """Return True if other code than the present has trained the run or made evaluations."""
        now = code_hash("evaluation")
        return trained_by_other_code(self.record) or any(
            e is not None and e.result.evaluation_code != now for e in evaluations
        )

    @property
    def state(self) -> State:
        if self.folder.finished:
            return "finished"
        if is_locked(self.folder.lock):
            return "running"
        return "failed" if exists(self.folder.failure) else "interrupted"

    @property
    def failure(self) -> str:
        """Message of the error that ended the run, with its type unless it is a user's mistake.

        Empty if there is none.
        """
        text = read_text(self.folder.failure, "").strip() if exists(self.folder.failure) else ""
        _, is_user_error, message = text.rpartition("UserError: ")
        return message if is_user_error else text.rpartition("\n")[2]

    @property
    def step(self) -> int:
        """Last logged step."""
        if not exists(self.folder.metrics_csv):
            return 0
        rows = read_csv(self.folder.metrics_csv, RESTORE_HINT)
        steps = [row.get("step", "") for row in rows]
        return max((int(step) for step in steps if step.isdecimal()), default=0)

    def evaluation(self, row_evaluation: RowEvaluation) -> Evaluation | None:
        """Return a row's evaluation of the run's current weights; None if it does not exist."""
        split = row_evaluation.split or self.config.data.val_split
        strategy = resolve_strategy_name(self.config, row_evaluation.strategy)
        name = evaluation_name(split, self.folder.weights, strategy)
        folder = EvaluationFolder(self.folder.evaluations / name)
        if not exists(folder.result):
            return None
        evaluation = read_evaluation(folder.path)
        return evaluation if evaluation.result.is_of_weights(self.weights_sha256) else None


FOUND_WITH_CLASSES = ("classes", "palette", "mask_values", "ignored_values", "unlisted_values")
"""Keys of ``data`` that finding the classes in the data set fills in."""

FOUND_IN_IMAGES = ("channels", "image_bits", "image_range")
"""Keys of ``data`` that are found in the images where they are null."""

FindRun = Callable[[Job], Run | None]
"""Function that returns the run of a job."""


def known_runs(root: str | Path) -> list[Run]:
    """Return the runs in a folder, the latest first.

    Runs that were set aside are left out, and those that cannot be read, which a line says.
    """
    runs = []
    configs = Path(root).expanduser().glob("*/config.yaml")
    for path in sorted(configs, key=_modification_time, reverse=True):
        folder = RunFolder(path.parent)
        if SET_ASIDE_MARKER in folder.path.name:
            continue
        try:
            runs.append(Run(folder, read_run(folder)))
        except UserError as error:
            _say_once(f"Left out: {error}")
    return runs


@cache
def _say_once(line: str) -> None:
    """Print a line to standard error, unless it has been printed already."""
    print(format_message(line), file=sys.stderr)


def make_run_finder(
    runs: Sequence[Run], current_fingerprint: CurrentFingerprint | None = None
) -> FindRun:
    """Return a function that finds the run of a job: a finished one if possible, else the latest.

    Args:
        runs: all existing runs.
        current_fingerprint: returns the fingerprint of the current images; runs on other images
            are not found. None: runs on any images are found.
    """
    hashes: dict[tuple[str | None, str], str | None] = {}

    def init_hash(job: Job) -> str | None:
        """Return the hash of a job's initial weights; empty if they do not exist yet."""
        if job.pretraining:
            pretraining = find_run(job.pretraining)
            return (pretraining and pretraining.weights_sha256) or ""
        config = job.config
        key = (config.init_from, config.backbone.model_dump_json())
        if key not in hashes:
            try:
                hashes[key] = init_record(config, download=False)[0]
            except NotDownloadedError:
                hashes[key] = ""
        return hashes[key]

    def find_run(job: Job) -> Run | None:
        if job.missing_weights_in_chain:
            return None
        settings, init = settings_hash(job.config), init_hash(job)
        fingerprint = current_fingerprint(job.config.data) if current_fingerprint else None
        matching = [
            run
            for run in runs
            if chosen_keys(job.config) <= {*run.config.automatic}
            and (run.settings == settings or _matches_with_found_values(run, job.config))
            and run.record.init_weights_sha256 == init
            and (run.config.init_from is not None) == job.starts_whole
            and fingerprint in (None, run.record.data_fingerprint)
        ]
        return next((run for run in matching if run.folder.finished), next(iter(matching), None))

    return find_run


def make_fingerprint_lookup() -> CurrentFingerprint:
    """Return a function that computes the fingerprint of a config's images, each once.

    It returns None if the images do not exist, and for drawn images, which their settings
    determine.
    """
    known: dict[str, str | None] = {}

    def current_fingerprint(data: DataSettings) -> str | None:
        if isinstance(data, SyntheticSettings):
            return None
        key = data.model_dump_json()
        if key not in known:
            try:
                known[key] = data_fingerprint(data, open_layout(data))
            except UserError:
                known[key] = None
        return known[key]

    return current_fingerprint


def _matches_with_found_values(run: Run, config: RunConfig) -> bool:
    """Return True if a run has a config's settings but for what was found in its data.

    These are the values of automatic keys, the classes of ``data=folder`` and of data of the user's
    own if the config names none, and the channels and the range of values of the images.
    """
    requested, recorded = result_settings(config), result_settings(run.config)
    keys = list(config.automatic)
    if isinstance(config.data, FolderSettings | OwnDataSettings) and not config.data.classes:
        ignored = recorded["data"].get("ignored_values", ())
        if any(value not in ignored for value in requested["data"]["ignored_values"]):
            return False
        keys += [f"data.{key}" for key in FOUND_WITH_CLASSES]
    found = [key for key in FOUND_IN_IMAGES if getattr(config.data, key, 0) is None]
    keys += [f"data.{key}" for key in found] + ["backbone.in_channels"] * ("channels" in found)
    for key in keys:
        (holder, name), (source, _) = find_holder(requested, key), find_holder(recorded, key)
        if name in source:
            holder[name] = source[name]
    return bool(keys) and requested == recorded


def _modification_time(path: Path) -> float:
    return path.stat().st_mtime
