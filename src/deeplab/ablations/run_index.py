"""The runs that there are, and which of them is which training.

Neither torch nor the images are needed: a run is found by its recorded config and by the hash of
the weights that it started from, whoever has launched it.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from deeplab.ablations.jobs import Training, Use
from deeplab.checkpoints.hub import NotDownloadedError
from deeplab.checkpoints.initialization import init_source_hash
from deeplab.config.schema.classification_data import (
    ClassificationDataConfig,
    ImageNetConfig,
    ShapeClassesConfig,
)
from deeplab.config.schema.data import DataConfig, FolderConfig, ShapesConfig
from deeplab.config.schema.run import RunConfig
from deeplab.evaluation.evaluation_folder import (
    Evaluation,
    EvaluationFolder,
    evaluation_name,
    read_evaluation,
)
from deeplab.tracking.protocol import resolve_strategy_name
from deeplab.tracking.run_folder import (
    SET_ASIDE_MARKER,
    RunFolder,
    read_json,
    read_record,
    read_run,
    settings_hash,
)
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import is_locked

DataNow = Callable[[DataConfig | ClassificationDataConfig], str | None]
"""The fingerprint of the images that are there; None where that is not known."""

State = Literal["finished", "running", "failed", "interrupted"]


@dataclass(frozen=True)
class Run:
    """A run folder."""

    folder: RunFolder
    config: RunConfig

    @cached_property
    def settings(self) -> str:
        """``deeplab.tracking.run_folder.settings_hash`` of its config."""
        return settings_hash(self.config)

    @cached_property
    def record(self) -> dict[str, Any]:
        return read_record(self.folder)

    @cached_property
    def result(self) -> dict[str, Any]:
        """Its ``metrics.json``; empty before it is finished."""
        return read_json(self.folder.result) if self.folder.finished else {}

    @property
    def state(self) -> State:
        if self.folder.finished:
            return "finished"
        if is_locked(self.folder.lock):
            return "running"
        return "failed" if self.folder.failure.is_file() else "interrupted"

    @property
    def failure(self) -> str:
        """The traceback that ended it."""
        return self.folder.failure.read_text() if self.folder.failure.is_file() else ""

    @property
    def step(self) -> int:
        """The last step that was logged; a process that was killed may have left half a line."""
        if not self.folder.metrics_csv.is_file():
            return 0
        with self.folder.metrics_csv.open(newline="", errors="replace") as file:
            steps = [row["step"] or "" for row in csv.DictReader(file)]
        return max((int(step) for step in steps if step.isdigit()), default=0)

    def evaluation(self, use: Use) -> Evaluation | None:
        """What a row wants of it, if it is there and of the run's present weights."""
        split = use.split or self.config.data.val_split
        way = resolve_strategy_name(self.config, use.strategy)
        name = evaluation_name(split, self.folder.weights, way)
        folder = EvaluationFolder(self.folder.evaluations / name)
        if not folder.result.is_file():
            return None
        found = read_evaluation(folder.path)
        same = found.result.get("weights_sha256") == self.result.get("weights_sha256")
        return found if same else None


Find = Callable[[Training], Run | None]
"""Which run a training is."""


def known_runs(root: str | Path) -> list[Run]:
    """The runs of a folder, the latest first; folders that cannot be read are left out, and those
    that were put aside."""
    found = []
    for path in sorted(Path(root).expanduser().glob("*/config.yaml"), key=_changed, reverse=True):
        folder = RunFolder(path.parent)
        if SET_ASIDE_MARKER in folder.path.name:
            continue
        try:
            found.append(Run(folder, read_run(folder)))
        except UserError:
            continue
    return found


def finder(runs: Sequence[Run], data: DataNow | None = None) -> Find:
    """Which run a training is: a finished one if there are several, else the latest.

    Args:
        runs: those that there are.
        data: what the images are now; runs on others do not count. None: they all do.
    """
    hashes: dict[tuple[str | None, str], str | None] = {}

    def start(training: Training) -> str | None:
        """The hash of the weights that it starts from; empty if these are not there yet."""
        if training.start:
            before = find(training.start)
            return str(before.result.get("weights_sha256", "")) if before else ""
        config = training.config
        named = (config.init_from, config.backbone.model_dump_json())
        if named not in hashes:
            try:
                hashes[named] = init_source_hash(config, download=False)
            except NotDownloadedError:
                hashes[named] = ""
        return hashes[named]

    def find(training: Training) -> Run | None:
        if training.missing:
            return None
        request, begun = settings_hash(training.config), start(training)
        now = data(training.config.data) if data else None
        fitting = [
            run
            for run in runs
            if (run.settings == request or _found_its_classes(run, training.config))
            and run.record.get("init_weights_sha256") == begun
            and now in (None, run.record.get("data_fingerprint"))
        ]
        return next((run for run in fitting if run.folder.finished), next(iter(fitting), None))

    return find


def data_now() -> DataNow:
    """What the images of a config are now, looked up once each; None where they are not there, and
    for those that are drawn, which are what their settings say."""
    from deeplab.config.build_classification_data import classification_fingerprint, image_folder
    from deeplab.config.build_data import data_fingerprint, data_layout  # a report is made without

    known: dict[str, str | None] = {}

    def now(data: DataConfig | ClassificationDataConfig) -> str | None:
        if isinstance(data, ShapesConfig | ShapeClassesConfig):
            return None
        key = data.model_dump_json()
        if key not in known:
            try:
                known[key] = (
                    classification_fingerprint(image_folder(data), data)
                    if isinstance(data, ImageNetConfig)
                    else data_fingerprint(data, data_layout(data))
                )
            except UserError:
                known[key] = None
        return known[key]

    return now


def _found_its_classes(run: Run, request: RunConfig) -> bool:
    """Whether a run has the settings that were asked for, and the classes that it has found in the
    masks of its folder, where none were named."""
    data, found = request.data, run.config.data
    if not (isinstance(data, FolderConfig) and isinstance(found, FolderConfig)) or data.classes:
        return False
    keys = ("classes", "palette", "mask_values", "ignored_values")
    whole = data.model_copy(update={key: getattr(found, key) for key in keys})
    named = set(data.ignored_values) <= set(found.ignored_values)
    return named and run.settings == settings_hash(request.model_copy(update={"data": whole}))


def _changed(path: Path) -> float:
    return path.stat().st_mtime
