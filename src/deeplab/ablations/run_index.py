"""Existing runs, and the search for the run of a job.

Neither torch nor the images are needed: a run is found by its recorded config and by the hash of
its initial weights, no matter how it was started.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from deeplab.ablations.distinct_jobs import Job, RowEvaluation
from deeplab.checkpoints.hub import NotDownloadedError
from deeplab.checkpoints.initialization import init_record
from deeplab.config.own_nodes import own_nodes, trained_versions
from deeplab.config.schema.model import ModelConfig
from deeplab.config.schema.run import RunConfig
from deeplab.data.layouts.base import data_fingerprint, open_layout
from deeplab.data.layouts.folder_settings import FolderSettings
from deeplab.data.layouts.own_settings import OwnDataSettings
from deeplab.data.settings import DataSettings, SyntheticSettings
from deeplab.evaluation.evaluation_folder import (
    Evaluation,
    EvaluationFolder,
    read_evaluation,
)
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import (
    OVERWRITE_HINT,
    RESTORE_HINT,
    RunFolder,
    read_run,
)
from deeplab.tracking.run_identity import chosen_keys, result_settings
from deeplab.tracking.run_record import RunRecord, read_record
from deeplab.tracking.source_code import code_hash, trained_by_other_code
from deeplab.utils.constants import CONFIG_FILE
from deeplab.utils.errors import UserError, format_message
from deeplab.utils.file_lock import is_locked
from deeplab.utils.files import SET_ASIDE_MARKER
from deeplab.utils.own_code.node import VERSION
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
    def settings(self) -> dict[str, Any]:
        """Keys that the result depends on (``deeplab.tracking.run_identity.result_settings``)."""
        return result_settings(self.config)

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

    @property
    def progress(self) -> str:
        """State and step of an unfinished run, and the error of a failed one."""
        state = self.state
        word = "at" if state == "running" else "after"  # its checkpoint may have a later one
        text = f"{state} {word} step {self.step} of {self.config.stage.max_steps}"
        return f"{text}: {self.failure}" if state == "failed" and self.failure else text

    def evaluation(self, row_evaluation: RowEvaluation) -> Evaluation | None:
        """Return a row's evaluation of the run's current weights; None if it does not exist."""
        name = row_evaluation.name_of(self.config)
        if name not in self._evaluations:
            folder = EvaluationFolder(self.folder.evaluations / name)
            evaluation = read_evaluation(folder.path) if exists(folder.result) else None
            current = evaluation and (
                evaluation.result.is_of_weights(self.weights_sha256)
                and evaluation.result.own_code == self._network_code
            )
            self._evaluations[name] = evaluation if current else None
        return self._evaluations[name]

    @cached_property
    def _network_code(self) -> dict[str, str]:
        """Versions of the network's own classes that it was trained with."""
        return trained_versions(self.config, ModelConfig.model_fields)

    @cached_property
    def _evaluations(self) -> dict[str, Evaluation | None]:
        return {}


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
    configs = Path(root).expanduser().glob(f"*/{CONFIG_FILE}")
    for path in sorted(configs, key=_modification_time, reverse=True):
        folder = RunFolder(path.parent)
        if SET_ASIDE_MARKER in folder.path.name:
            continue
        try:
            runs.append(Run(folder, _read_config(folder.path, _modification_time(path))))
        except UserError as error:
            _say_once(f"Left out: {error}")
    return runs


@cache  # a sweep lists its runs several times
def _read_config(path: Path, modified: float) -> RunConfig:
    return read_run(RunFolder(path))


@cache
def _say_once(line: str) -> None:
    """Print a line to standard error, unless it has been printed already."""
    print(format_message(line), file=sys.stderr)


def make_run_finder(
    runs: Sequence[Run],
    current_fingerprint: CurrentFingerprint | None = None,
    *,
    chosen: bool = False,
    any_version: bool = False,
) -> FindRun:
    """Return a function that finds the run of a job: a finished one if possible, else the latest.

    Args:
        runs: all existing runs.
        current_fingerprint: returns the fingerprint of the current images; runs on other images
            are not found. None: runs on any images are found.
        chosen: the jobs have the values that are chosen for automatic keys here and now, and so
            must their runs; False: they have placeholders.
        any_version: find runs with other versions of the user's own code too.
    """
    hashes: dict[tuple[str | None, str], str | None] = {}
    found: dict[str, Run | None] = {}

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
        if job.key not in found:
            found[job.key] = None if job.missing_weights_in_chain else search(job)
        return found[job.key]

    def search(job: Job) -> Run | None:
        config, init = job.config, init_hash(job)
        requested = result_settings(config)
        automatic = set() if chosen else chosen_keys(config)
        keys = [*([] if chosen else config.automatic), *_found_in_data(config)]
        keys += [f"{key}.{VERSION}" for key, _ in own_nodes(config) if any_version]
        fingerprint = current_fingerprint(config.data) if current_fingerprint else None
        matching = [
            run
            for run in runs
            if automatic <= {*run.config.automatic}
            and (run.settings == requested or _equal_but_for(keys, requested, run.settings))
            and run.record.init_weights_sha256 == init
            and (run.config.init_from is not None) == job.starts_whole
            and fingerprint in (None, run.record.data_fingerprint)
        ]
        best_first = sorted(matching, key=lambda run: run.settings != requested)
        return min(best_first, key=lambda run: not run.folder.finished, default=None)

    return find_run


def make_finder_of_jobs(
    runs: Sequence[Run], jobs: Sequence[Job], *, chosen: bool = False, any_version: bool = False
) -> FindRun:
    """Return a function that finds the runs of these jobs, although images may have changed since.

    Runs on several folders of images differ by these alone, so then the images count.

    Args:
        runs: all existing runs.
        jobs: the jobs.
        chosen: see ``make_run_finder``.
        any_version: see ``make_run_finder``.
    """
    roots = {job.config.data.root for job in jobs}
    fingerprints = make_fingerprint_lookup() if len(roots) > 1 else None
    return make_run_finder(runs, fingerprints, chosen=chosen, any_version=any_version)


def describe_other_version(job: Job, run: Run) -> str:
    """Return how the versions of the user's own code differ from a run's; empty if none does."""
    then = dict(own_nodes(run.config))
    return "; ".join(
        f"with another version of {node.target} ({before.version}; now {node.version})"
        for key, node in own_nodes(job.config)
        if (before := then.get(key)) and before.version != node.version
    )


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


def _found_in_data(config: RunConfig) -> list[str]:
    """Return the keys that have other values in a run of a config, because its data have them.

    These are the classes of ``data=folder`` and of data of the user's own if the config names none,
    and the channels and the range of values of the images.
    """
    keys = []
    if isinstance(config.data, FolderSettings | OwnDataSettings) and not config.data.classes:
        keys += [f"data.{key}" for key in FOUND_WITH_CLASSES]
    found = [key for key in FOUND_IN_IMAGES if getattr(config.data, key, 0) is None]
    return (
        keys + [f"data.{key}" for key in found] + ["backbone.in_channels"] * ("channels" in found)
    )


def _equal_but_for(
    keys: Sequence[str], requested: Mapping[str, Any], recorded: Mapping[str, Any]
) -> bool:
    """Return True if recorded settings are the requested ones but for some keys.

    Values to ignore that were requested must be among the recorded ones.
    """
    if "data.ignored_values" in keys:
        ignored = recorded["data"].get("ignored_values", ())
        if any(value not in ignored for value in requested["data"]["ignored_values"]):
            return False
    expected = deepcopy({**requested})
    for key in keys:
        (holder, name), (source, _) = find_holder(expected, key), find_holder({**recorded}, key)
        if name in source:
            holder[name] = source[name]
    return bool(keys) and expected == recorded


def _modification_time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # removed meanwhile
        return 0.0
